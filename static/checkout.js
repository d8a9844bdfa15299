/* The pages on which a card is charged: card fields, one payment, the bank's window (ecosystem: Payment Element, ConfirmationToken,
 * handleNextAction). Every answer of the server is a page of the same address; this script takes over the parts
 * that changed and leaves the card fields as they are. Without it, and after a reload, the same pages stand alone. */

const PARTS = ["problem", "what", "card-choice", "billing", "agree", "summary"];
const form = document.getElementById("pay");
const bank = document.getElementById("bank");

const DARK = matchMedia("(prefers-color-scheme: dark)");

// The admin center has a switch of its own; other pages follow the system.
const isDark = () =>
  document.documentElement.matches(".sk-auto") ? DARK.matches : document.documentElement.matches(".dark");

const appearance = () => ({
  theme: isDark() ? "night" : "stripe",
  variables: {
    fontFamily: getComputedStyle(document.body).fontFamily,
    fontSizeBase: "16px",
    borderRadius: "6px",
  },
});

/** Go where an answer of the server leads. */
async function follow(stripe, response) {
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const url = new URL(response.url);
  if (url.pathname !== location.pathname) return location.assign(url);
  const asked = page.getElementById("bank");
  if (asked) {
    const button = document.getElementById("pay-button");
    if (button) button.textContent = button.dataset.waiting;
    await stripe.handleNextAction({ clientSecret: asked.dataset.clientSecret });
    return settle(stripe);
  }
  if (!form || !page.getElementById("pay")) return location.reload();
  takeOver(page);
  return undefined;
}

/** Ask the page how the payment stands now. */
const settle = async (stripe) => follow(stripe, await fetch(location.pathname));

/** Show the parts of another answer in place, and the problem first. */
function takeOver(page) {
  for (const id of PARTS) {
    const fresh = page.getElementById(id);
    if (fresh) {
      document.getElementById(id).replaceWith(document.adoptNode(fresh));
      window.htmx.process(document.getElementById(id));
    }
  }
  hideButtons();
  showNewCard();
  document.title = page.title;
  document.querySelector("#problem [role=alert]")?.focus();
}

function mountCard(stripe, total) {
  // A card that is only saved has no amount.
  const isSaved = form.dataset.mode === "setup";
  const elements = stripe.elements({
    ...(isSaved ? { mode: "setup" } : { mode: "payment", amount: total(), currency: form.dataset.currency }),
    setupFutureUsage: "off_session",
    allowedPaymentMethodTypes: ["card"],
    appearance: appearance(),
    locale: document.documentElement.lang,
  });
  const card = elements.create("payment", { fields: { billingDetails: { address: "never" } } });
  card.mount("#card");
  card.on("loaderror", () => complain(form.dataset.failed));
  document.addEventListener("htmx:afterSettle", () => elements.update({ amount: total() }));
  DARK.addEventListener("change", () => elements.update({ appearance: appearance() }));
  return elements;
}

function beBusy(button) {
  button.setAttribute("aria-busy", "true");
  button.setAttribute("aria-disabled", "true");
  button.textContent = button.dataset.busy;
}

function beReady(button) {
  button.removeAttribute("aria-busy");
  button.removeAttribute("aria-disabled");
}

const isNewCard = () => new FormData(form).get("card") === "new";

/** The fields of a new card stand there while one is to be entered. */
function showNewCard() {
  document.getElementById("new-card").hidden = !isNewCard();
}

/** The checkout: what was typed is checked by the server first, then it is paid, without leaving the page. */
function startPaying(stripe) {
  const elements = mountCard(stripe, () => Number(document.getElementById("summary").dataset.total));
  let isBusy = false;

  showNewCard();
  form.addEventListener("change", showNewCard);

  form.addEventListener("submit", async (event) => {
    const button = event.submitter;
    if (!button || button.name !== "action" || button.value !== "pay") return;
    event.preventDefault();
    if (isBusy) return;
    isBusy = true;
    const label = button.textContent;
    beBusy(button);
    complain("");
    try {
      await pay(stripe, elements);
    } catch {
      // The answer got lost: the page itself knows how the payment stands.
      complain(form.dataset.lost);
      location.reload();
      return;
    }
    isBusy = false;
    const now = document.getElementById("pay-button");
    beReady(now);
    if (now === button) now.textContent = label;
  });
}

/** Pages that post their form as it is: a saved card as its number, a new one as a token. */
function startChanging(stripe) {
  const elements = mountCard(stripe, () => Number(form.dataset.total));

  showNewCard();
  form.addEventListener("change", showNewCard);
  postOnce(async () => {
    complain("");
    const problem = isNewCard() ? await tokenOf(stripe, elements).catch(() => form.dataset.failed) : "";
    complain(problem);
    return !problem;
  });
}

/** Post the form once, when what is done before says that it may go. */
function postOnce(isReady) {
  const button = document.getElementById("pay-button");
  const label = button.textContent;
  let isBusy = false;
  const rest = () => {
    isBusy = false;
    beReady(button);
    button.textContent = label;
  };

  // Back from the bank or from history the page may still be the one that was left.
  window.addEventListener("pageshow", rest);
  form.addEventListener("submit", async (event) => {
    // Only counting anew.
    if (event.submitter?.formNoValidate) return;
    event.preventDefault();
    if (isBusy) return;
    isBusy = true;
    beBusy(button);
    if (await isReady()) form.submit();
    else rest();
  });
}

/** Put a token of the card fields into the form; the sentence of what is wrong with them, else nothing. */
async function tokenOf(stripe, elements) {
  const { error: incomplete } = await elements.submit();
  if (incomplete) return incomplete.message;
  const billing = JSON.parse(document.getElementById("billing").textContent);
  const { error, confirmationToken } = await stripe.createConfirmationToken({
    elements,
    params: { return_url: location.href, payment_method_data: { billing_details: billing } },
  });
  if (error) return error.message;
  form.elements.confirmation_token.value = confirmationToken.id;
  return "";
}

/** Check the form, make a token of a new card, pay. Nothing is charged before the last step. */
async function pay(stripe, elements) {
  const isNew = isNewCard();
  const { error: incomplete } = isNew ? await elements.submit() : {};
  if (incomplete) return complain(incomplete.message);
  const checked = await post("check");
  if (checked.status !== 204) return follow(stripe, checked);
  if (!isNew) return follow(stripe, await post("pay"));
  const { error, confirmationToken } = await stripe.createConfirmationToken({
    elements,
    params: {
      return_url: location.href,
      payment_method_data: { billing_details: billingDetails() },
    },
  });
  if (error) return complain(error.message);
  return follow(stripe, await post("pay", confirmationToken.id));
}

function post(action, confirmationToken = "") {
  const body = new FormData(form);
  body.set("action", action);
  body.set("confirmation_token", confirmationToken);
  return fetch(location.pathname, { method: "POST", body: new URLSearchParams(body) });
}

function billingDetails() {
  const value = (name) => form.elements[name].value.trim();
  return {
    name: value("name"),
    address: {
      line1: value("street"),
      line2: "",
      city: value("city"),
      state: "",
      postal_code: value("postal_code"),
      country: value("country"),
    },
  };
}

function complain(message) {
  const place = document.getElementById("card-error");
  place.textContent = message || "";
  place.hidden = !message;
}

/** Counting anew happens by itself here; its button is for pages without this script. */
function hideButtons() {
  for (const button of document.querySelectorAll("[data-noscript]")) button.hidden = true;
}

hideButtons();
document.addEventListener("htmx:afterSettle", hideButtons);

if (form && !document.getElementById("card")) postOnce(() => true);
else if (window.Stripe && form) {
  const start = form.dataset.checks ? startPaying : startChanging;
  start(window.Stripe(form.dataset.key));
} else if (form) complain(form.dataset.failed);
if (window.Stripe && bank) {
  const stripe = window.Stripe(bank.dataset.key, { locale: document.documentElement.lang });
  stripe
    .handleNextAction({ clientSecret: bank.dataset.clientSecret })
    .then(() => (bank.dataset.reload ? location.reload() : settle(stripe)))
    .catch(() => location.reload());
}
