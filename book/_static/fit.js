/* An equation wider than a narrow screen shrinks until it fits, to six tenths at most; what is wider still scrolls. */
(() => {
  const SMALLEST = 0.6;
  const widths = new WeakMap();

  const fit = (block) => {
    if (!block.clientWidth || widths.get(block) === block.clientWidth) return;   // folded away, or as wide as before
    widths.set(block, block.clientWidth);
    block.querySelectorAll("mjx-container[display]").forEach((formula) => {
      const size = formula.dataset.size ??= formula.style.fontSize || "100%";
      formula.style.fontSize = size;
      for (let share = 1; share > SMALLEST && formula.scrollWidth > formula.clientWidth + 1;) {
        share = Math.max(SMALLEST, share * Math.min(0.98, formula.clientWidth / formula.scrollWidth));
        formula.style.fontSize = `calc(${size} * ${share})`;
      }
    });
  };

  window.addEventListener("load", async () => {
    if (!window.MathJax?.startup) return;
    await MathJax.startup.promise;
    const observer = new ResizeObserver((entries) => entries.forEach(({target}) => fit(target)));
    document.querySelectorAll(".bd-content div.math").forEach((block) => observer.observe(block));
  });
})();
