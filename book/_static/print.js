/* Paper is white: a page printed in dark mode is set in the light colours, with its dropdowns open. */
(() => {
  const root = document.documentElement;
  let before = null;
  window.addEventListener("beforeprint", () => {
    if (before) return;
    before = {theme: root.dataset.theme, closed: [...document.querySelectorAll("details:not([open])")]};
    root.dataset.theme = "light";
    before.closed.forEach((details) => { details.open = true; });
  });
  window.addEventListener("afterprint", () => {
    if (!before) return;
    root.dataset.theme = before.theme;
    before.closed.forEach((details) => { details.open = false; });
    before = null;
  });
})();
