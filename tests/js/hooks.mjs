// Node takes a .js file for CommonJS unless a package.json beside it says otherwise. There is none
// in static/js, because it would be served.

export function load(url, context, next) {
  return next(url, url.includes("/static/js/") ? { ...context, format: "module" } : context);
}
