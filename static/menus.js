/* What opens over a page closes by Escape or a click beside it, and gives the focus back to what opened it. Without script
 * the menus open and close by their own buttons. The field over the side bar's menu narrows it: Enter leads to its first entry. */

const MENUS = "details.sk-menu[open], details.sk-side__user[open]";
const OPENER = "[data-opens-menu]";
const CLOSER = ".sk-side__close";

addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.activeElement?.closest(MENUS);
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (document.activeElement?.closest("#nav-sidebar-inner")) {
    // The side bar lies over the page where it has a button that closes it.
    const closer = document.querySelector(CLOSER);
    if (closer.checkVisibility()) closer.click();
  }
});

addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(MENUS)) if (!menu.contains(event.target)) menu.open = false;
});

/* On the way down, while the side bar is still as it was before the click. */
addEventListener(
  "click",
  (event) => {
    if (!event.target.closest(`${OPENER}, ${CLOSER}`)) return;
    const first = document.querySelector("#nav-sidebar-apps a");
    if (first?.checkVisibility()) document.querySelector(OPENER).focus();
    else if (first) focusOnceShown(first);
  },
  true,
);

function focusOnceShown(element, frames = 60) {
  if (element.checkVisibility()) element.focus();
  else if (frames) requestAnimationFrame(() => focusOnceShown(element, frames - 1));
}

const goTo = document.querySelector(".sk-side__goto");
if (goTo) {
  const field = goTo.querySelector("input");
  const menu = document.querySelector("#nav-sidebar-apps");
  const nothing = document.querySelector(".sk-side__nothing");
  goTo.hidden = false;

  function narrow() {
    const words = field.value.trim().toLowerCase();
    for (const list of menu.querySelectorAll("ul")) {
      for (const entry of list.children) {
        entry.hidden = !entry.querySelector("a span + span").textContent.toLowerCase().includes(words);
      }
      list.hidden = list.previousElementSibling.hidden = !list.querySelector("li:not([hidden])");
    }
    nothing.hidden = menu.querySelector("li:not([hidden])") !== null;
  }

  field.addEventListener("input", narrow);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") menu.querySelector("li:not([hidden]) a")?.click();
    if (event.key !== "Escape" || !field.value) return;
    event.stopPropagation();
    field.value = "";
    narrow();
  });
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.key.toLowerCase() !== "k") return;
    event.preventDefault();
    if (!field.checkVisibility()) document.querySelector(OPENER).click();
    focusOnceShown(field);
  });
}
