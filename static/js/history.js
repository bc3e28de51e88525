// The history page.

import { newKeysOnReturn } from "./client-key.js";
import { closableQuestions } from "./confirm.js";
import { enhance } from "./enhance.js";

enhance();
newKeysOnReturn();
closableQuestions();
