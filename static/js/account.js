// The sign-in page and the sign-up page.

import { enhance } from "./enhance.js";

enhance();
