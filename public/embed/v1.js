/* Seatkeeper: purchase prompts and the app launcher on the pages of products. Version 1; docs/embed.md says how. */
(() => {
  "use strict";
  const script = document.currentScript;
  if (!script || window.seatkeeperEmbed) return;
  window.seatkeeperEmbed = 1;
  const portal = new URL(script.src).origin;
  const KINDS = { seatkeeperPrompt: "prompt", seatkeeperLauncher: "launcher" };
  const PLACES = "[data-seatkeeper-prompt],[data-seatkeeper-launcher]";
  const SAID = ["data-product", "data-token", "data-return", "data-organization"];

  // A constructed sheet: a policy that allows no inline styles allows it.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
:host{color-scheme:light dark;--tx:light-dark(#101828,#f3f4f6);--sub:light-dark(#5e6676,#99a1af);
--sf:light-dark(#fff,#101828);--hv:light-dark(#f3f4f6,#1d2737);--ln:light-dark(#e5e7eb,#232e3e);
--ls:light-dark(#d1d5dc,#384355);--ac:light-dark(#4758d9,#4e61de);--ah:light-dark(#3946ba,#4252cd);
--ti:light-dark(#f2f5ff,#1d254b);--tl:light-dark(#cdd9ff,#394788);--fo:light-dark(#4758d9,#abbeff)}
:host([data-scheme=light]){color-scheme:light}:host([data-scheme=dark]){color-scheme:dark}
*{box-sizing:border-box;margin:0}
.box,.menu{font:400 .875rem/1.43 Inter,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;color:var(--tx)}
.box{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start;padding:1.25rem;background:var(--sf);border:1px solid var(--ln);border-radius:10px}
.say{flex:1 1 14rem;display:grid;gap:.25rem;min-inline-size:0;overflow-wrap:anywhere}
h2{font-size:1rem;line-height:1.4;font-weight:600}p{white-space:pre-line}small{color:var(--sub);font-size:.75rem;font-weight:400}
.do{display:flex;flex-wrap:wrap;gap:.75rem;margin-block-start:.75rem}
.btn{display:inline-flex;align-items:center;justify-content:center;min-block-size:2.375rem;padding:.25rem 1rem;border:1px solid var(--ls);border-radius:6px;background:var(--sf);color:var(--tx);font:inherit;font-weight:500;text-decoration:none;cursor:pointer}
.btn:hover{background:var(--hv)}.main{background:var(--ac);border-color:transparent;color:#fff}.main:hover{background:var(--ah)}
:focus-visible{outline:2px solid var(--fo);outline-offset:2px}
.tile{flex:none;display:grid;place-items:center;inline-size:3.5rem;block-size:3.5rem;border-radius:10px;font-size:1.125rem;font-weight:700;letter-spacing:-.02em;color:var(--c);background:var(--b)}
.blue{--b:light-dark(#d4edff,#1a3853);--c:light-dark(#06498e,#abd7fd)}
.amber{--b:light-dark(#ffe9ba,#48340e);--c:light-dark(#713f00,#f6d389)}
.green{--b:light-dark(#cff6e0,#1c3d2c);--c:light-dark(#065939,#98e9be)}
.rose{--b:light-dark(#ffe2ee,#52273d);--c:light-dark(#862454,#f9c2db)}
.plum{--b:light-dark(#ede4ff,#3f2d5b);--c:light-dark(#5b3291,#dbcafc)}
.action{--b:var(--ac);--c:#fff}
.menu{position:relative;display:inline-block}.menu>.btn{padding:0;inline-size:2.375rem}
svg{inline-size:1.25em;block-size:1.25em;fill:none;stroke:currentColor;stroke-width:1.75;stroke-linecap:round}
nav{position:absolute;z-index:2147483000;inset-block-start:calc(100% + .5rem);inset-inline-start:0;inline-size:min(22rem,calc(100vw - 2rem));max-block-size:calc(100vh - 6rem);overflow:auto;display:grid;gap:.75rem;padding:1rem;background:var(--sf);border:1px solid var(--ln);border-radius:10px;box-shadow:0 16px 40px #1018282e}
nav[hidden]{display:none}nav.end{inset-inline:auto 0}
@media(max-width:30rem){nav,nav.end{position:fixed;inset:auto 1rem auto 1rem;inline-size:auto;margin-block-start:.5rem}}
ul{display:grid;gap:.75rem;padding:0;list-style:none;grid-template-columns:repeat(auto-fill,minmax(6rem,1fr))}
li a{display:grid;justify-items:center;align-content:start;gap:.5rem;block-size:100%;padding:.75rem .5rem;border:1px solid var(--ln);border-radius:10px;background:var(--sf);color:var(--tx);text-decoration:none;text-align:center;font-weight:500;overflow-wrap:anywhere}
li a:hover{border-color:var(--tl);background:var(--ti)}`);

  const make = (name, attributes, ...inside) => {
    const node = document.createElement(name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    node.append(...inside);
    return node;
  };
  const picture = (path) => {
    const [svg, line] = ["svg", "path"].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
    svg.setAttribute("viewBox", "0 0 24 24");
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  };
  const link = (css, href, ...inside) =>
    make("a", /^(https?|mailto):/i.test(href) ? { class: css, href } : { class: css }, ...inside);
  const tile = (colour, inside) => make("span", { class: `tile ${colour}`, "aria-hidden": "true" }, inside);

  const draw = {
    prompt({ title, text, organization, tile: of, links }) {
      if (!links.length) return [];
      const buttons = links.map(({ label, href }, n) => link(n ? "btn" : "btn main", href, label));
      const said = make("div", { class: "say" }, make("h2", { id: "title" }, title), make("p", {}, text));
      if (organization) said.append(make("small", {}, organization));
      said.append(make("div", { class: "do" }, ...buttons));
      return [make("section", { class: "box", "aria-labelledby": "title" }, tile(of.colour, of.letters), said)];
    },
    launcher({ label, tiles, admin, empty, all }) {
      const row = (each, picked) =>
        make("li", {}, link("", each.href, picked, make("span", {}, each.name, make("br"), make("small", {}, each.note))));
      const rows = tiles.map((each) => row(each, tile(each.colour, each.letters)));
      const key = "M12 15.5a4 4 0 1 1-8 0a4 4 0 0 1 8 0zM11 12.5l8-8M16 7.5l2.5 2.5";
      if (admin) rows.push(row(admin, tile("action", picture(key))));
      const panel = make("nav", { id: "apps", "aria-label": label, hidden: "" });
      if (empty) panel.append(make("p", {}, empty));
      if (rows.length) panel.append(make("ul", {}, ...rows));
      panel.append(link("btn", all.href, all.label));
      const button = make(
        "button",
        { class: "btn", type: "button", "aria-label": label, title: label, "aria-expanded": "false", "aria-controls": "apps" },
        picture("M4 4h6.5v6.5h-6.5zM13.5 4h6.5v6.5h-6.5zM4 13.5h6.5v6.5h-6.5zM13.5 13.5h6.5v6.5h-6.5z"),
      );
      const menu = make("div", { class: "menu" }, button, panel);
      const open = (yes) => {
        panel.hidden = !yes;
        button.setAttribute("aria-expanded", yes);
        panel.classList.toggle("end", button.getBoundingClientRect().left > innerWidth / 2);
      };
      button.addEventListener("click", () => open(panel.hidden));
      menu.addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || panel.hidden) return;
        event.stopPropagation();
        open(false);
        button.focus();
      });
      menu.addEventListener("focusout", ({ relatedTarget: to }) => to && !menu.contains(to) && open(false));
      addEventListener("pointerdown", (event) => event.composedPath().includes(menu) || open(false));
      return [menu];
    },
  };

  // Of each place the latest question; an answer to an earlier one comes too late.
  const asked = new WeakMap();

  const ask = async (place) => {
    const kind = KINDS[Object.keys(KINDS).find((name) => name in place.dataset)];
    const { product = "", token, organization, return: back } = place.dataset;
    if (!kind || !product) return;
    const turn = {};
    asked.set(place, turn);
    const body = new URLSearchParams({ product, return: new URL(back || location.href, location.href).href });
    if (token) body.set("token", token);
    if (organization) body.set("organization", organization);
    let state = "unavailable";
    let nodes = null;
    try {
      const credentials = token ? "omit" : "include";
      const answer = await fetch(`${portal}/embed/${kind}`, { method: "POST", body, credentials });
      const said = await answer.json();
      state = said.state;
      if (answer.ok) nodes = draw[kind](said);
    } catch {
      // Away, or this origin is not registered: what the page holds itself stays.
    }
    if (asked.get(place) !== turn) return;
    if (nodes) {
      const root = place.shadowRoot || place.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [sheet];
      root.replaceChildren(...nodes);
    }
    place.dataset.state = state;
    place.dispatchEvent(new CustomEvent("seatkeeper", { bubbles: true, detail: { kind, state } }));
  };

  const begin = () => {
    document.querySelectorAll(PLACES).forEach(ask);
    new MutationObserver((changes) => {
      const places = new Set();
      for (const { type, target, addedNodes } of changes) {
        if (type === "attributes" && target.matches(PLACES)) places.add(target);
        for (const node of addedNodes) {
          if (!(node instanceof Element)) continue;
          if (node.matches(PLACES)) places.add(node);
          node.querySelectorAll(PLACES).forEach((place) => places.add(place));
        }
      }
      places.forEach(ask);
    }).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: SAID });
  };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", begin);
  else begin();
})();
