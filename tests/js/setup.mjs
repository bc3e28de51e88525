// `node --import ./tests/js/setup.mjs`: makes Node read static/js as a browser does.

import { register } from "node:module";

register("./hooks.mjs", import.meta.url);
