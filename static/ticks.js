/* Ticks of a list: how many there are, all of them, none. The bar that says so is there while something is ticked, or could
 * be; without script it has its button alone. */

const bar = document.querySelector("form:has([data-ticked])");
const boxes = [...document.querySelectorAll(`input[type=checkbox][form="${bar.id}"]`)];
const [told, all, none] = ["ticked", "tick-all", "tick-none"].map((name) => bar.querySelector(`[data-${name}]`));

function tell() {
  const ticked = boxes.filter((box) => box.checked).length;
  told.querySelector("span").textContent = ticked;
  told.hidden = none.hidden = bar.querySelector("[type=submit]").hidden = !ticked;
  all.hidden = ticked === boxes.length;
  bar.classList.toggle("is-empty", !ticked);
}

function tickAll(isTicked) {
  for (const box of boxes) box.checked = isTicked;
  tell();
}

for (const box of boxes) box.addEventListener("change", tell);
all.addEventListener("click", () => {
  tickAll(true);
  none.focus();
});
none.addEventListener("click", () => {
  tickAll(false);
  all.focus();
});
/* Also when the page comes back as it was left. */
addEventListener("pageshow", tell);
