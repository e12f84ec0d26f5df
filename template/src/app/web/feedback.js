// Thumbs below each answer: whether it was good, as whoever got it says.

import { call } from "./api.js";
import { announce, element, errorBox } from "./page.js";

const THUMBS = { up: ["👍", "Good answer"], down: ["👎", "Bad answer"] };
// What this tab has said, by the id of the answer.
const ratings = new Map();

document.addEventListener("answer", ({ detail: { id, place } }) => {
  const trouble = element("div");
  const buttons = Object.entries(THUMBS).map(([rating, [sign, label]]) => {
    const about = { type: "button", class: "quiet", title: label, "aria-label": label };
    return element("button", { ...about, onclick: () => rate(rating) }, sign);
  });

  function show() {
    Object.keys(THUMBS).forEach((rating, i) => {
      buttons[i].setAttribute("aria-pressed", ratings.get(id) === rating);
    });
  }

  async function rate(rating) {
    trouble.replaceChildren();
    try {
      await call("/v1/feedback", { body: { response_id: id, rating } });
      ratings.set(id, rating);
      show();
      announce("Thank you.");
    } catch (error) {
      trouble.replaceChildren(errorBox(error, () => rate(rating)));
      announce(error.message);
    }
  }

  show();
  place.append(element("div", { class: "thumbs", role: "group", "aria-label": "Rate it" }, buttons));
  place.append(trouble);
});
