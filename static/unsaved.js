/* Counts the values of the policy's form that are not as stored, and asks before they are left behind. Every button of
 * the form takes them along; without script the count is that of the last one pressed. */

const form = document.querySelector("form:has([data-count])");
const count = form.querySelector("[data-count]");
let goesOn = false;

function unsaved() {
  return [...form.querySelectorAll("[data-stored]")].filter((field) => field.value !== field.dataset.stored).length;
}

function tell() {
  count.textContent = unsaved();
  count.parentElement.hidden = !unsaved();
}

form.addEventListener("change", tell);
form.addEventListener("submit", () => (goesOn = true));
form.querySelector("[data-leaves]").addEventListener("click", () => (goesOn = true));
addEventListener("beforeunload", (event) => {
  if (!goesOn && unsaved()) event.preventDefault();
});
/* Also when the page comes back as it was left. */
addEventListener("pageshow", () => {
  goesOn = false;
  tell();
});
