/* The browser side of the demo's card processor: the calls of Stripe.js that Seatkeeper uses, and no others.
 *
 * Card fields and the bank's page live in iframes of this script's own origin, so card data never touches the
 * page that embeds it. Styles are set property by property: the page's policy allows no inline ones. */
(() => {
  "use strict";

  const ORIGIN = new URL(document.currentScript.src).origin;
  const RETRIES = 2;
  const SECRET = /^((?:pi|seti)_[A-Za-z0-9]+)_secret_[A-Za-z0-9]+$/;
  const DARK = matchMedia("(prefers-color-scheme: dark)");
  const NOT_AUTHENTICATED =
    "We are unable to authenticate your payment method. Please choose a different payment method and try again.";

  class IntegrationError extends Error {
    constructor(message) {
      super(message);
      this.name = "IntegrationError";
    }
  }

  const themeOf = (appearance) => {
    const theme = appearance && appearance.theme;
    if (theme === "night" || theme === "dark") return "dark";
    if (theme) return "light";
    return DARK.matches ? "dark" : "light";
  };

  const localeOf = (locale) => (!locale || locale === "auto" ? navigator.language : locale);

  const setStyles = (element, styles) => Object.assign(element.style, styles);

  /** Flatten nested values to Stripe's bracket notation. */
  const encode = (values, prefix = "", into = new URLSearchParams()) => {
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined || value === null) continue;
      const key = prefix ? `${prefix}[${name}]` : name;
      if (typeof value === "object") encode(value, key, into);
      else into.append(key, String(value));
    }
    return into;
  };

  /** An iframe of this origin and a private channel to it. */
  class Frame {
    constructor(path, { title, onEvent, init }) {
      this.waiting = new Map();
      this.next = 1;
      this.onEvent = onEvent;
      this.element = document.createElement("iframe");
      this.element.title = title;
      this.element.src = `${ORIGIN}${path}`;
      setStyles(this.element, { border: "0", display: "block" });
      this.connected = new Promise((resolve) => {
        this.element.addEventListener("load", () => {
          const channel = new MessageChannel();
          this.port = channel.port1;
          this.port.onmessage = (message) => this.receive(message.data);
          // Only a document of this origin can get the other end.
          this.element.contentWindow.postMessage({ type: "init", ...init() }, ORIGIN, [channel.port2]);
          resolve();
        });
        this.element.addEventListener("error", () => this.onEvent({ event: "loaderror" }));
      });
    }

    receive(data) {
      if (data.event) return this.onEvent(data);
      const resolve = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (resolve) resolve(data.result);
      return undefined;
    }

    async ask(type, body = {}) {
      await this.connected;
      const id = this.next++;
      return new Promise((resolve) => {
        this.waiting.set(id, resolve);
        this.port.postMessage({ id, type, ...body });
      });
    }

    async tell(type, body = {}) {
      await this.connected;
      this.port.postMessage({ type, ...body });
    }
  }

  class PaymentElement {
    constructor(group, options) {
      this.group = group;
      this.options = options;
      this.listeners = new Map();
      this.frame = null;
    }

    mount(target) {
      const container = typeof target === "string" ? document.querySelector(target) : target;
      if (!container) {
        throw new IntegrationError(
          `The selector you specified (${target}) applies to no DOM elements that are currently on the page. ` +
            "Make sure the element exists on the page before calling mount().",
        );
      }
      if (this.frame) this.unmount();
      this.frame = new Frame("/v3/card", {
        title: "Secure payment input frame",
        onEvent: (data) => this.handle(data),
        init: () => this.settings(),
      });
      // The frame is wider than its place by the width of a focus ring.
      setStyles(this.frame.element, {
        width: "calc(100% + 8px)",
        margin: "-4px",
        height: "220px",
        opacity: "0",
        transition: "opacity 120ms",
        colorScheme: themeOf(this.group.options.appearance),
      });
      container.replaceChildren(this.frame.element);
      this.onScheme = () => this.refresh();
      DARK.addEventListener("change", this.onScheme);
      this.emit("loaderstart", { elementType: "payment" });
      return this;
    }

    settings() {
      const { appearance = {}, locale, fonts, mode, amount, currency } = this.group.options;
      return {
        key: this.group.key,
        theme: themeOf(appearance),
        variables: appearance.variables || {},
        locale: localeOf(locale),
        fonts: fonts || [],
        fields: this.options.fields || {},
        defaults: (this.options.defaultValues && this.options.defaultValues.billingDetails) || {},
        mode,
        amount,
        currency,
      };
    }

    refresh() {
      if (!this.frame) return;
      this.frame.element.style.colorScheme = themeOf(this.group.options.appearance);
      this.frame.tell("update", this.settings());
    }

    handle(data) {
      if (data.event === "height") this.frame.element.style.height = `${data.height}px`;
      else if (data.event === "ready") {
        this.frame.element.style.opacity = "1";
        this.emit("ready", { elementType: "payment" });
      } else this.emit(data.event, { elementType: "payment", ...data.detail });
    }

    emit(name, detail) {
      for (const listener of this.listeners.get(name) || []) listener(detail);
    }

    on(name, listener) {
      this.listeners.set(name, [...(this.listeners.get(name) || []), listener]);
      return this;
    }

    off(name, listener) {
      const kept = (this.listeners.get(name) || []).filter((known) => listener && known !== listener);
      this.listeners.set(name, kept);
      return this;
    }

    once(name, listener) {
      const wrapped = (detail) => {
        this.off(name, wrapped);
        listener(detail);
      };
      return this.on(name, wrapped);
    }

    update(options) {
      Object.assign(this.options, options);
      this.refresh();
    }

    focus() {
      if (this.frame) this.frame.tell("focus");
    }

    blur() {
      if (this.frame) this.frame.tell("blur");
    }

    clear() {
      if (this.frame) this.frame.tell("clear");
    }

    unmount() {
      if (!this.frame) return;
      DARK.removeEventListener("change", this.onScheme);
      this.frame.element.remove();
      this.frame = null;
    }

    destroy() {
      this.unmount();
      this.group.payment = null;
    }
  }

  class Elements {
    constructor(key, options) {
      const { mode, amount, currency, clientSecret } = options;
      if (!clientSecret && !["payment", "setup", "subscription"].includes(mode)) {
        throw new IntegrationError("elements(): `mode` must be payment, setup or subscription.");
      }
      if (!clientSecret && mode === "payment" && (!Number.isInteger(amount) || amount < 1)) {
        throw new IntegrationError("elements(): `amount` must be a positive whole number of minor units.");
      }
      if (!clientSecret && mode !== "setup" && typeof currency !== "string") {
        throw new IntegrationError("elements(): `currency` must be given with this mode.");
      }
      this.key = key;
      this.options = { ...options };
      this.payment = null;
      this.isSubmitted = false;
    }

    create(type, options = {}) {
      if (type !== "payment") throw new IntegrationError(`The ${type} Element is not available here.`);
      if (this.payment) throw new IntegrationError("Can only create one Element of type payment.");
      this.payment = new PaymentElement(this, { ...options });
      return this.payment;
    }

    getElement(type) {
      return type === "payment" ? this.payment : null;
    }

    update(options) {
      Object.assign(this.options, options);
      if (this.payment) this.payment.refresh();
    }

    frame() {
      if (!this.payment || !this.payment.frame) {
        throw new IntegrationError("elements should have a mounted Payment Element.");
      }
      return this.payment.frame;
    }

    async submit() {
      const error = await this.frame().ask("submit");
      this.isSubmitted = !error;
      return error ? { error } : { selectedPaymentMethod: "card" };
    }
  }

  class StripeClient {
    constructor(key, options) {
      this.key = key;
      this.options = options;
    }

    elements(options = {}) {
      // The bank's window will look and speak like the card fields.
      this.options = { ...this.options, appearance: options.appearance, locale: options.locale || this.options.locale };
      return new Elements(this.key, { ...options, locale: this.options.locale });
    }

    /** The card in the form as a token that the server can confirm an intent with. */
    async createConfirmationToken({ elements, params = {} } = {}) {
      if (!(elements instanceof Elements)) {
        throw new IntegrationError("createConfirmationToken(): pass the `elements` of this page.");
      }
      if (!elements.isSubmitted) {
        throw new IntegrationError(
          "elements.submit() must be called before stripe.createConfirmationToken().",
        );
      }
      const frame = elements.frame();
      const data = params.payment_method_data || {};
      const asked = (elements.payment.options.fields || {}).billingDetails;
      const country = asked === "never" || (asked && (asked.address === "never" || (asked.address || {}).country === "never"));
      if (country && !((data.billing_details || {}).address || {}).country) {
        throw new IntegrationError(
          'You specified "never" for fields.billing_details.address.country when creating the payment Element, ' +
            "but did not pass params.payment_method_data.billing_details.address.country when calling " +
            "stripe.createConfirmationToken().",
        );
      }
      const values = {
        return_url: params.return_url,
        shipping: params.shipping,
        setup_future_usage: elements.options.setupFutureUsage || undefined,
      };
      return frame.ask("token", { values, billing: data.billing_details || {} });
    }

    async retrievePaymentIntent(clientSecret) {
      return this.asResult("paymentIntent", await this.retrieve(clientSecret));
    }

    async retrieveSetupIntent(clientSecret) {
      return this.asResult("setupIntent", await this.retrieve(clientSecret));
    }

    /** Let the cardholder's bank ask what it wants; resolves once that is answered. */
    async handleNextAction({ clientSecret } = {}) {
      const { intent, error } = await this.retrieve(clientSecret);
      if (error) return { error };
      if (intent.status !== "requires_action") {
        return {
          error: {
            type: "invalid_request_error",
            code: `${intent.object}_unexpected_state`,
            message: `handleNextAction: The intent supplied is ${intent.status}, not requires_action.`,
            [intent.object]: intent,
          },
        };
      }
      await this.askBank(intent, clientSecret);
      return this.outcome(await this.retrieve(clientSecret));
    }

    confirmPayment(options) {
      return this.confirm("payment_intents", options);
    }

    confirmSetup(options) {
      return this.confirm("setup_intents", options);
    }

    async confirm(kind, { elements, clientSecret, confirmParams = {}, redirect }) {
      const submitted = await elements.submit();
      if (submitted.error) return { error: submitted.error };
      const { error, confirmationToken } = await this.createConfirmationToken({ elements, params: confirmParams });
      if (error) return { error };
      const id = this.idOf(clientSecret);
      const body = { client_secret: clientSecret, confirmation_token: confirmationToken.id };
      const answer = await this.request("POST", `/v1/${kind}/${id}/confirm`, body);
      if (answer.error) return { error: answer.error };
      let result = this.outcome({ intent: answer });
      if (answer.status === "requires_action") result = await this.handleNextAction({ clientSecret });
      if (!result.error && redirect !== "if_required") {
        const url = new URL(confirmParams.return_url);
        url.searchParams.set(answer.object, id);
        url.searchParams.set(`${answer.object}_client_secret`, clientSecret);
        url.searchParams.set("redirect_status", "succeeded");
        location.assign(url);
      }
      return result;
    }

    idOf(clientSecret) {
      const match = SECRET.exec(clientSecret || "");
      if (!match) throw new IntegrationError("The client secret is not of the form ${id}_secret_${secret}.");
      return match[1];
    }

    async retrieve(clientSecret) {
      const id = this.idOf(clientSecret);
      const kind = id.startsWith("seti_") ? "setup_intents" : "payment_intents";
      const query = new URLSearchParams({ client_secret: clientSecret });
      const answer = await this.request("GET", `/v1/${kind}/${id}?${query}`);
      return answer.error ? { error: answer.error } : { intent: answer };
    }

    asResult(name, { intent, error }) {
      return error ? { error } : { [name]: intent };
    }

    /** The intent, or the error that it keeps of the attempt that failed. */
    outcome({ intent, error }) {
      if (error) return { error };
      const kept = intent.last_payment_error || intent.last_setup_error;
      if (intent.status !== "requires_payment_method" || !kept) {
        return { [intent.object === "setup_intent" ? "setupIntent" : "paymentIntent"]: intent };
      }
      const isRefused = /_authentication_failure$/.test(kept.code || "");
      return {
        error: { ...kept, message: isRefused ? NOT_AUTHENTICATED : kept.message, [intent.object]: intent },
      };
    }

    async request(method, path, values) {
      const headers = { Authorization: `Bearer ${this.key}` };
      const body = values && encode(values);
      for (let attempt = 0; ; attempt += 1) {
        try {
          const response = await fetch(`${ORIGIN}${path}`, { method, headers, body });
          if (response.status < 500 || attempt >= RETRIES) return await response.json();
        } catch {
          if (attempt >= RETRIES) {
            return {
              error: {
                type: "api_connection_error",
                message:
                  "We are experiencing issues connecting to our payments provider. Please check your internet " +
                  "connection and try again.",
              },
            };
          }
        }
        await new Promise((resolve) => setTimeout(resolve, 400 * 2 ** attempt));
      }
    }

    /** A modal window of the bank; resolves when it is closed. */
    askBank(intent, clientSecret) {
      return new Promise((resolve) => {
        const theme = themeOf(this.options.appearance);
        const dialog = document.createElement("dialog");
        dialog.setAttribute("aria-label", "3D Secure");
        const overflow = document.documentElement.style.overflow;
        const close = () => {
          dialog.close();
          dialog.remove();
          document.documentElement.style.overflow = overflow;
          resolve();
        };
        const query = new URLSearchParams({ intent: intent.id, client_secret: clientSecret, embedded: "1" });
        const frame = new Frame(`/v3/issuer?${query}`, {
          title: "3D Secure",
          onEvent: (data) => {
            if (data.event === "done") close();
          },
          init: () => ({ theme, locale: localeOf(this.options.locale) }),
        });
        const whole = { width: "100%", height: "100%", maxWidth: "none", maxHeight: "none", margin: "0" };
        setStyles(dialog, {
          ...whole,
          padding: "0",
          border: "0",
          background: "transparent",
          overflow: "hidden",
          outline: "none",
          colorScheme: theme,
        });
        setStyles(frame.element, { ...whole, colorScheme: theme, background: "transparent" });
        dialog.append(frame.element);
        dialog.addEventListener("cancel", (event) => {
          event.preventDefault();
          frame.tell("cancel");
        });
        document.documentElement.style.overflow = "hidden";
        document.body.append(dialog);
        dialog.showModal();
        frame.element.focus();
      });
    }
  }

  window.Stripe = Object.assign(
    (key, options = {}) => {
      if (typeof key !== "string" || !key) {
        throw new IntegrationError("Missing value for Stripe(): apiKey should be a string.");
      }
      if (/^(sk|rk)_/.test(key)) {
        throw new IntegrationError("You should not use your secret key with Stripe.js. Pass a publishable key.");
      }
      return new StripeClient(key, options);
    },
    { version: 3 },
  );
})();
