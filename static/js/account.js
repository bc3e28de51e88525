// The pages to sign in and to sign up.

import { enhance } from "./enhance.js";

enhance();
