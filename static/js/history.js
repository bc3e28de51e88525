// The history page.

import { closableQuestions } from "./confirm.js";
import { enhance } from "./enhance.js";

enhance();
closableQuestions();
