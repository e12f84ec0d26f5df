// What all tabs share: the tabs themselves, making elements, and telling a screen reader.

// Make an element of nodes, texts and arrays of them. Text becomes text nodes, so that nothing a
// model or a user wrote is ever markup.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  // One by one: as arguments, many of them would be higher than the stack.
  for (const child of children.flat()) made.append(child);
  return made;
}

// Say something to a screen reader, once.
export function announce(text) {
  const announcer = document.getElementById("announcer");
  announcer.textContent = "";
  // An equal text is said again only if it was gone in between.
  setTimeout(() => (announcer.textContent = text), 50);
}

export function isAtBottom() {
  const { scrollHeight, clientHeight, scrollTop } = document.documentElement;
  return scrollHeight - clientHeight - scrollTop < 80;
}

export function scrollDown() {
  window.scrollTo(0, document.documentElement.scrollHeight);
}

// Tell whoever listens for "answer" that a whole one is in `place`: more may be put there.
export function shown(id, place) {
  document.dispatchEvent(new CustomEvent("answer", { detail: { id, place } }));
}

export function tokens(input, output) {
  return `${input.toLocaleString("en")} tokens in, ${output.toLocaleString("en")} out`;
}

// Explain an error from api.js in place, with a way to try again.
export function errorBox(error, retry) {
  const wait = error.retryAfter ? ` The service asks to wait ${error.retryAfter} s.` : "";
  const kind = [error.status, error.code].filter(Boolean).join(" ");
  return element(
    "div",
    { class: "error" },
    element("p", {}, element("strong", {}, "It did not work. "), error.message, wait),
    kind ? element("p", { class: "meta" }, kind) : "",
    retry ? element("button", { type: "button", class: "quiet", onclick: retry }, "Retry") : "",
  );
}

function buildTabs(list, panels) {
  const select = (chosen, focus) => {
    panels.forEach((panel, i) => {
      const selected = i === chosen;
      panel.hidden = !selected;
      tabs[i].setAttribute("aria-selected", selected);
      tabs[i].tabIndex = selected ? 0 : -1;
    });
    if (focus) tabs[chosen].focus();
    // No element's id: a browser would begin at that element with the first Tab.
    history.replaceState(null, "", `#/${panels[chosen].id}`);
  };
  const tabs = panels.map((panel, i) => {
    const id = `tab-${panel.id}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", id);
    const attributes = { type: "button", role: "tab", id, "aria-controls": panel.id };
    return element("button", { ...attributes, onclick: () => select(i) }, panel.dataset.tab);
  });
  list.append(...tabs);
  list.addEventListener("keydown", (event) => {
    const now = tabs.indexOf(document.activeElement);
    const goTo = {
      ArrowRight: (now + 1) % tabs.length,
      ArrowLeft: (now - 1 + tabs.length) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    }[event.key];
    if (goTo === undefined) return;
    event.preventDefault();
    select(goTo, true);
  });
  select(Math.max(0, panels.findIndex((panel) => `#/${panel.id}` === location.hash)));
}

buildTabs(
  document.querySelector("[role=tablist]"),
  [...document.querySelectorAll("main > [data-tab]")],
);
