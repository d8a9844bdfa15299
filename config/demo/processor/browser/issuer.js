/* The bank's page: shows the payment, takes the cardholder's answer, and goes back. */
"use strict";

const TEXTS = {
  en: {
    title: "Confirm with your bank",
    lead: "Your bank wants to be sure that it is you. Nothing is charged before you agree.",
    to: "To",
    amount: "Amount",
    card: "Card",
    nothing: "Nothing now, the card is kept for later",
    ending: "ending in",
    note: "Test mode: choose what your bank answers.",
    fail: "Fail authentication",
    complete: "Complete authentication",
    gone: "This payment no longer waits for an answer.",
    close: "Close",
  },
  nl: {
    title: "Bevestig bij je bank",
    lead: "Je bank wil zeker weten dat jij het bent. Er wordt niets afgeschreven voordat je akkoord gaat.",
    to: "Aan",
    amount: "Bedrag",
    card: "Kaart",
    nothing: "Nu niets, de kaart wordt bewaard voor later",
    ending: "eindigend op",
    note: "Testmodus: kies wat je bank antwoordt.",
    fail: "Verificatie laten mislukken",
    complete: "Verificatie voltooien",
    gone: "Deze betaling wacht niet meer op een antwoord.",
    close: "Sluiten",
  },
};
const BRANDS = { visa: "Visa", mastercard: "Mastercard", amex: "American Express", jcb: "JCB", unionpay: "UnionPay" };

const query = new URLSearchParams(location.search);
const identity = { intent: query.get("intent"), client_secret: query.get("client_secret") };
const isEmbedded = query.get("embedded") === "1" && window.parent !== window;
const byId = (id) => document.getElementById(id);
const buttons = [byId("fail"), byId("complete")];
let texts = TEXTS.en;
let port = null;
let details = null;

const formatted = (minor, currency, locale) => {
  const style = { style: "currency", currency: currency.toUpperCase() };
  const format = new Intl.NumberFormat(locale, style);
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
};

const leave = () => {
  if (isEmbedded) port.postMessage({ event: "done" });
  else if (/^https?:\/\//.test(details.return_to || "")) location.assign(details.return_to);
  else byId("note").textContent = texts.gone;
};

const answer = async (outcome) => {
  if (buttons[0].disabled) return;
  for (const button of buttons) button.disabled = true;
  const body = new URLSearchParams({ ...identity, outcome });
  try {
    const response = await fetch("/_issuer/answer", { method: "POST", body });
    if (response.ok) details = await response.json();
  } finally {
    leave();
  }
};

const show = async ({ theme, locale }) => {
  document.documentElement.dataset.theme = theme;
  const language = String(locale || "en").toLowerCase().startsWith("nl") ? "nl" : "en";
  document.documentElement.lang = language;
  texts = TEXTS[language];
  document.title = texts.title;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = texts[element.dataset.text];
  }
  const response = await fetch(`/_issuer/payment?${new URLSearchParams(identity)}`);
  details = response.ok ? await response.json() : { status: "gone" };
  if (details.status === "requires_action") {
    byId("merchant").textContent = details.merchant;
    byId("amount").textContent = details.amount ? formatted(details.amount, details.currency, locale) : texts.nothing;
    const brand = BRANDS[details.card.brand] || details.card.brand;
    byId("cardholder-card").textContent = `${brand} ${texts.ending} ${details.card.last4}`;
  } else {
    byId("note").textContent = texts.gone;
    document.querySelector("dl").hidden = true;
    byId("complete").hidden = true;
    byId("fail").textContent = texts.close;
  }
  document.querySelector("main").hidden = false;
  byId(details.status === "requires_action" ? "complete" : "fail").focus();
};

byId("complete").addEventListener("click", () => answer("succeeded"));
byId("fail").addEventListener("click", () => answer("failed"));
window.addEventListener("keydown", (event) => {
  if (event.key === "Escape") answer("failed");
});

if (isEmbedded) {
  document.body.classList.add("embedded");
  window.addEventListener("message", (message) => {
    if (message.source !== window.parent || port || message.data.type !== "init" || !message.ports[0]) return;
    [port] = message.ports;
    port.onmessage = (event) => {
      if (event.data.type === "cancel") answer("failed");
    };
    show(message.data);
  });
} else {
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  show({ theme, locale: navigator.language });
}
