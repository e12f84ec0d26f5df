// The tab Extract: it shows whatever fields the service's model has.

import { task, valueOf } from "./task.js";

task(document.getElementById("extract"), "/v1/extract", ({ data }) => (data ? [valueOf(data)] : []));
