// The tab Classify: the label, and why.

import { element } from "./page.js";
import { task } from "./task.js";

task(document.getElementById("classify"), "/v1/classify", ({ label, rationale }) => [
  label ? element("p", { class: "label" }, label) : "",
  rationale ? element("p", { class: "rationale" }, rationale) : "",
]);
