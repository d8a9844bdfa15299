/* The card fields: formatting, checks, and the token made of them. The number never leaves this origin. */
"use strict";

const TEXTS = {
  en: {
    number: "Card number",
    expiry: "Expiration date",
    cvc: "Security code",
    country: "Country or region",
    zip: "Postal code",
    tests: "Test mode, no money moves. Fill in a test card:",
    test_ok: "Succeeds",
    test_bank: "Asks the bank",
    test_declined: "Is declined",
    incomplete_number: "Your card number is incomplete.",
    invalid_number: "Your card number is invalid.",
    incomplete_expiry: "Your card's expiration date is incomplete.",
    invalid_expiry_month: "Your card's expiration month is invalid.",
    invalid_expiry_month_past: "Your card's expiration date is in the past.",
    invalid_expiry_year_past: "Your card's expiration year is in the past.",
    invalid_expiry_year: "Your card's expiration year is invalid.",
    incomplete_cvc: "Your card's security code is incomplete.",
    incomplete_zip: "Your postal code is incomplete.",
    offline: "We could not reach the payment provider. Check your connection and try again.",
  },
  nl: {
    number: "Kaartnummer",
    expiry: "Vervaldatum",
    cvc: "Beveiligingscode",
    country: "Land of regio",
    zip: "Postcode",
    tests: "Testmodus, er gaat geen geld om. Vul een testkaart in:",
    test_ok: "Slaagt",
    test_bank: "Vraagt de bank",
    test_declined: "Wordt geweigerd",
    incomplete_number: "Je kaartnummer is onvolledig.",
    invalid_number: "Je kaartnummer is ongeldig.",
    incomplete_expiry: "De vervaldatum van je kaart is onvolledig.",
    invalid_expiry_month: "De vervalmaand van je kaart is ongeldig.",
    invalid_expiry_month_past: "De vervaldatum van je kaart ligt in het verleden.",
    invalid_expiry_year_past: "Het vervaljaar van je kaart ligt in het verleden.",
    invalid_expiry_year: "Het vervaljaar van je kaart is ongeldig.",
    incomplete_cvc: "De beveiligingscode van je kaart is onvolledig.",
    incomplete_zip: "Je postcode is onvolledig.",
    offline: "We konden de betaaldienst niet bereiken. Controleer je verbinding en probeer het opnieuw.",
  },
};
const BRANDS = [
  { name: "visa", shown: "Visa", starts: /^4/, lengths: [16, 13, 19] },
  { name: "mastercard", shown: "Mastercard", starts: /^(5[1-5]|2[2-7])/, lengths: [16] },
  { name: "amex", shown: "Amex", starts: /^3[47]/, lengths: [15], groups: [4, 6, 5], cvc: 4 },
  { name: "discover", shown: "Discover", starts: /^6(011|4[4-9]|5)/, lengths: [16] },
  { name: "diners", shown: "Diners", starts: /^3(0|6|8)/, lengths: [14, 16] },
  { name: "jcb", shown: "JCB", starts: /^35/, lengths: [16] },
  { name: "unionpay", shown: "UnionPay", starts: /^62/, lengths: [16, 19] },
];
const UNKNOWN = { name: "", shown: "", lengths: [16] };
const VARIABLES = {
  colorPrimary: "--primary",
  colorBackground: "--field",
  colorText: "--text",
  colorTextSecondary: "--subtle",
  colorDanger: "--danger",
  colorBorder: "--line",
  borderRadius: "--radius",
  fontFamily: "--font",
  fontSizeBase: "--size",
};
const WITH_ZIP = new Set(["US", "CA", "GB"]);
const COUNTRIES = (
  "AD AE AF AG AI AL AM AO AR AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BW BY BZ CA CD " +
  "CF CG CH CI CK CL CM CN CO CR CV CW CY CZ DE DJ DK DM DO DZ EC EE EG ES ET FI FJ FK FO FR GA GB GD GE GF GG " +
  "GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE IL IM IN IQ IS IT JE JM JO JP KE KG KH KI KM KN KR " +
  "KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MK ML MM MN MO MQ MR MS MT MU MV MW MX MY MZ NA " +
  "NC NE NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PY QA RE RO RS RW SA SB SC SE SG SH SI " +
  "SK SL SM SN SO SR SS ST SV SX SZ TC TD TG TH TJ TK TL TM TN TO TR TT TW TZ UA UG US UY UZ VA VC VE VG VN VU " +
  "WF WS XK YE YT ZA ZM ZW"
).split(" ");

const byId = (id) => document.getElementById(id);
const inputs = { number: byId("number"), expiry: byId("expiry"), cvc: byId("cvc"), zip: byId("zip") };
const country = byId("country");
const digitsOf = (value) => value.replace(/\D/g, "");
let port = null;
let key = "";
let texts = TEXTS.en;
let billing = {};

const brandOf = (number) => BRANDS.find((brand) => brand.starts.test(number)) || UNKNOWN;

const passesLuhn = (number) => {
  let total = 0;
  [...number].reverse().forEach((digit, index) => {
    const value = Number(digit) * (index % 2 ? 2 : 1);
    total += value > 9 ? value - 9 : value;
  });
  return total % 10 === 0;
};

const grouped = (number, brand) => {
  const sizes = brand.groups || [4, 4, 4, 4, 3];
  const groups = [];
  let rest = number;
  for (const size of sizes) {
    if (!rest) break;
    groups.push(rest.slice(0, size));
    rest = rest.slice(size);
  }
  return groups.join(" ");
};

const groupedExpiry = (value) => {
  let digits = digitsOf(value);
  if (/^[2-9]/.test(digits)) digits = `0${digits}`;
  if (/^\d\s*\//.test(value) && digits.length === 1) digits = `0${digits}`;
  // 2029 typed or filled in whole becomes 29.
  if (digits.length >= 6 && digits.slice(2, 4) === "20") digits = digits.slice(0, 2) + digits.slice(4);
  digits = digits.slice(0, 4);
  return digits.length > 2 ? `${digits.slice(0, 2)} / ${digits.slice(2)}` : digits;
};

/** Rewrite a field as `format` wants it; the caret stays behind the same digit. */
const reformat = (input, format) => {
  const before = digitsOf(input.value.slice(0, input.selectionStart || 0)).length;
  const atEnd = (input.selectionStart || 0) >= input.value.length;
  const value = format(input.value);
  if (value === input.value) return;
  input.value = value;
  if (document.activeElement !== input) return;
  let position = value.length;
  if (!atEnd) {
    position = 0;
    for (let seen = 0; position < value.length && seen < before; position += 1) {
      if (/\d/.test(value[position])) seen += 1;
    }
  }
  input.setSelectionRange(position, position);
};

const CHECKS = {
  number() {
    const number = digitsOf(inputs.number.value);
    const brand = brandOf(number);
    if (number.length < Math.min(...brand.lengths)) return "incomplete_number";
    if (!brand.lengths.includes(number.length) || !passesLuhn(number)) {
      return number.length < brand.lengths[0] ? "incomplete_number" : "invalid_number";
    }
    return "";
  },
  expiry() {
    const digits = digitsOf(inputs.expiry.value);
    if (digits.length < 4) return "incomplete_expiry";
    const month = Number(digits.slice(0, 2));
    const year = 2000 + Number(digits.slice(2));
    const now = new Date();
    if (month < 1 || month > 12) return "invalid_expiry_month";
    if (year < now.getFullYear()) return "invalid_expiry_year_past";
    if (year === now.getFullYear() && month < now.getMonth() + 1) return "invalid_expiry_month_past";
    return year > now.getFullYear() + 50 ? "invalid_expiry_year" : "";
  },
  cvc() {
    const wanted = brandOf(digitsOf(inputs.number.value)).cvc || 3;
    return inputs.cvc.value.length < wanted ? "incomplete_cvc" : "";
  },
  zip() {
    return byId("zip-field").hidden || inputs.zip.value.trim().length > 2 ? "" : "incomplete_zip";
  },
};

const showError = (name, message) => {
  inputs[name].setAttribute("aria-invalid", message ? "true" : "false");
  byId(`${name}-error`).textContent = message;
};

const tell = (event, detail) => port && port.postMessage({ event, detail });

const tellChange = () => {
  const complete = Object.values(CHECKS).every((check) => !check());
  const empty = Object.values(inputs).every((input) => !input.value);
  tell("change", { complete, empty, collapsed: false, value: { type: "card" } });
};

const showBrand = () => {
  const brand = brandOf(digitsOf(inputs.number.value));
  byId("brand").textContent = brand.shown;
  byId("brand").dataset.brand = brand.name;
  inputs.cvc.maxLength = brand.cvc || 3;
};

const formatNumber = () =>
  reformat(inputs.number, (value) => {
    const number = digitsOf(value);
    const brand = brandOf(number);
    return grouped(number.slice(0, Math.max(...brand.lengths)), brand);
  });

const FORMATS = {
  number() {
    formatNumber();
    showBrand();
  },
  expiry: () => reformat(inputs.expiry, groupedExpiry),
  cvc: () => reformat(inputs.cvc, (value) => digitsOf(value).slice(0, inputs.cvc.maxLength)),
  zip: () => {},
};

/** When a field is full and right, the next one is where the typing goes on. */
const moveOn = (name, next) => {
  const input = inputs[name];
  if (document.activeElement !== input || input.selectionStart !== input.value.length || CHECKS[name]()) return;
  const isFull =
    name !== "number" || digitsOf(input.value).length === brandOf(digitsOf(input.value)).lengths[0];
  if (isFull && !inputs[next].value) inputs[next].focus();
};

for (const [name, input] of Object.entries(inputs)) {
  input.addEventListener("input", (event) => {
    // Deleting the blank of "12 / 3" must not put it back.
    if (!/^delete/.test(event.inputType || "") || name === "number") FORMATS[name]();
    showError(name, "");
    tellChange();
    if (/^insert/.test(event.inputType || "")) {
      if (name === "number") moveOn("number", "expiry");
      if (name === "expiry") moveOn("expiry", "cvc");
    }
  });
  input.addEventListener("blur", () => {
    FORMATS[name]();
    if (input.value) showError(name, texts[CHECKS[name]()] || "");
    tell("blur", {});
  });
  input.addEventListener("focus", () => tell("focus", {}));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tell("escape", {});
    // The number of an emptied field goes on being deleted in the one before it.
    if (event.key !== "Backspace" || input.value) return;
    const before = { expiry: "number", cvc: "expiry" }[name];
    if (before) {
      event.preventDefault();
      inputs[before].focus();
    }
  });
}

byId("card").addEventListener("submit", (event) => event.preventDefault());

const needsCountry = (fields) => {
  const details = fields.billingDetails;
  if (details === "never") return false;
  const address = (details && details.address) || "auto";
  return address !== "never" && address.country !== "never";
};

const showZip = () => {
  byId("zip-field").hidden = byId("country-field").hidden || !WITH_ZIP.has(country.value);
  byId("country-field").classList.toggle("wide", byId("zip-field").hidden);
};

country.addEventListener("change", () => {
  showZip();
  tellChange();
});

for (const button of document.querySelectorAll("[data-number]")) {
  button.addEventListener("click", () => {
    inputs.number.value = button.dataset.number;
    FORMATS.number();
    inputs.expiry.value = `12 / ${String(new Date().getFullYear() + 3).slice(2)}`;
    inputs.cvc.value = "123";
    if (!byId("zip-field").hidden) inputs.zip.value = "12345";
    for (const name of Object.keys(inputs)) showError(name, "");
    tellChange();
  });
}

const applySettings = (settings) => {
  const root = document.documentElement;
  root.dataset.theme = settings.theme;
  const locale = String(settings.locale || "en");
  const language = locale.toLowerCase().startsWith("nl") ? "nl" : "en";
  root.lang = language;
  texts = TEXTS[language];
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = texts[element.dataset.text];
  }
  for (const [name, property] of Object.entries(VARIABLES)) {
    const value = settings.variables[name];
    if (typeof value === "string") root.style.setProperty(property, value);
  }
  for (const font of settings.fonts) {
    if (!font.family || !font.src) continue;
    const face = new FontFace(font.family, font.src, { weight: font.weight || "400", style: font.style || "normal" });
    face.load().then((loaded) => document.fonts.add(loaded), () => {});
  }
  billing = settings.defaults;
  byId("country-field").hidden = !needsCountry(settings.fields);
  const chosen = country.value;
  const names = new Intl.DisplayNames([language], { type: "region" });
  const options = COUNTRIES.map((code) => ({ code, name: names.of(code) }));
  options.sort((one, other) => one.name.localeCompare(other.name, language));
  country.replaceChildren(...options.map(({ code, name }) => new Option(name, code)));
  const guess = new Intl.Locale(locale).maximize().region;
  country.value = chosen || (billing.address && billing.address.country) || (COUNTRIES.includes(guess) ? guess : "US");
  showZip();
};

/** The first thing that is wrong, shown in its field; null when all is well. */
const submit = () => {
  let first = null;
  for (const [name, check] of Object.entries(CHECKS)) {
    const code = check();
    showError(name, code ? texts[code] : "");
    if (code && !first) first = { name, error: { type: "validation_error", code, message: texts[code] } };
  }
  if (!first) return null;
  inputs[first.name].focus();
  return first.error;
};

const FIELD_OF = {
  number: "number",
  exp_month: "expiry",
  exp_year: "expiry",
  cvc: "cvc",
};

const append = (into, prefix, values) => {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === null || value === "") continue;
    const path = prefix ? `${prefix}[${name}]` : name;
    if (typeof value === "object") append(into, path, value);
    else into.append(path, String(value));
  }
};

const createToken = async ({ values, billing: given }) => {
  const details = { ...billing, ...given, address: { ...billing.address, ...given.address } };
  if (!byId("country-field").hidden && !details.address.country) details.address.country = country.value;
  if (!byId("zip-field").hidden && !details.address.postal_code) details.address.postal_code = inputs.zip.value.trim();
  const expiry = digitsOf(inputs.expiry.value);
  const body = new URLSearchParams();
  append(body, "", values);
  append(body, "payment_method_data", {
    type: "card",
    card: {
      number: digitsOf(inputs.number.value),
      exp_month: Number(expiry.slice(0, 2)),
      exp_year: 2000 + Number(expiry.slice(2)),
      cvc: inputs.cvc.value,
    },
    billing_details: details,
  });
  try {
    const headers = { Authorization: `Bearer ${key}` };
    const response = await fetch("/v1/confirmation_tokens", { method: "POST", headers, body });
    const answer = await response.json();
    if (!answer.error) return { confirmationToken: answer };
    const field = FIELD_OF[answer.error.param];
    if (field) {
      showError(field, answer.error.message);
      inputs[field].focus();
    }
    return { error: answer.error };
  } catch {
    return { error: { type: "api_connection_error", message: texts.offline } };
  }
};

const REQUESTS = {
  submit,
  token: createToken,
  update: applySettings,
  focus: () => inputs.number.focus(),
  blur: () => document.activeElement && document.activeElement.blur(),
  clear() {
    for (const [name, input] of Object.entries(inputs)) {
      input.value = "";
      showError(name, "");
    }
    showBrand();
    tellChange();
  },
};

const receive = async (data) => {
  const handler = Object.hasOwn(REQUESTS, data.type) ? REQUESTS[data.type] : null;
  if (!handler) return;
  const result = await handler(data);
  if (data.id) port.postMessage({ id: data.id, result });
};

window.addEventListener("message", (message) => {
  if (message.source !== window.parent || port || message.data.type !== "init" || !message.ports[0]) return;
  [port] = message.ports;
  key = message.data.key;
  applySettings(message.data);
  port.onmessage = (event) => receive(event.data);
  const tellHeight = () => port.postMessage({ event: "height", height: Math.ceil(document.body.offsetHeight) });
  new ResizeObserver(tellHeight).observe(document.body);
  tellHeight();
  port.postMessage({ event: "ready" });
});
