/* Passkeys of the vendor's staff: the browser makes or shows one, and the form takes what it says to the server. The form
 * that shows one is hidden without script: a code does the same. `webauthnJSON` comes with allauth. */

const form = document.querySelector("form[data-passkey]");
const problem = form?.querySelector(".sk-error");

/** Ask the browser, and post its answer. */
async function ask(event) {
  if (form.elements.credential.value) return;
  event.preventDefault();
  problem.hidden = true;
  const options = JSON.parse(document.getElementById("passkey-options").textContent);
  const { webauthnJSON } = window;
  try {
    const answer = await (form.dataset.passkey === "make" ? webauthnJSON.create(options) : webauthnJSON.get(options));
    form.elements.credential.value = JSON.stringify(answer);
    form.submit();
  } catch {
    problem.hidden = false;
  }
}

if (form && window.PublicKeyCredential) {
  form.hidden = false;
  form.addEventListener("submit", ask);
}
