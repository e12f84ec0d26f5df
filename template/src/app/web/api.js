// Calls of the service, with the API key of this tab.

export class ServiceError extends Error {
  constructor(message, { status = 0, code = "", retryAfter = "" } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

const KEY = "api-key";
const dialog = document.getElementById("key-dialog");
const input = document.getElementById("key-input");
let held = kept();
let asking = null;

function kept() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function keep(key) {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // There is no room, or no storage: it is asked for again when the page is loaded again.
  }
}

// GET `path`, or POST `body` to it: a FormData as it is, all else as JSON. Throws a ServiceError, or
// an AbortError after `signal`.
export async function call(path, { method, body, headers, signal } = {}) {
  for (;;) {
    const key = held;
    const response = await send(path, { method, body, headers, signal }, key);
    if (response.ok) return response;
    const error = await errorOf(response);
    if (response.status !== 401 || !(await askForKey(key))) throw error;
    signal?.throwIfAborted();
  }
}

async function send(path, { method, body, headers: own, signal }, key) {
  const headers = key ? { ...own, Authorization: `Bearer ${key}` } : { ...own };
  const options = { method: method ?? (body ? "POST" : "GET"), headers, signal, credentials: "omit" };
  if (body instanceof FormData) {
    options.body = body;
  } else if (body) {
    headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service cannot be reached.");
  }
}

// Yield {id, name, data} of each server-sent event. Whoever reads stops at the last one, for this throws
// where the answer ends.
export async function* events(response) {
  let buffer = "";
  let id = "";
  let name = "";
  try {
    for await (const text of pieces(response.body)) {
      buffer += text;
      const lines = buffer.split("\n");
      buffer = lines.pop();
      for (const line of lines) {
        if (!line) name = "";
        if (line.startsWith("id:")) id = line.slice("id:".length).trim();
        if (line.startsWith("event:")) name = line.slice("event:".length).trim();
        if (line.startsWith("data:")) yield { id, name, data: line.slice("data:".length).trim() };
      }
    }
  } catch (error) {
    // What the browser says of a broken connection differs from browser to browser.
    if (!(error instanceof TypeError)) throw error;
  }
  throw new ServiceError("The answer broke off.");
}

async function* pieces(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

// Read a problem (RFC 9457), or the error object of OpenAI's API.
async function errorOf(response) {
  const told = await response.json().catch(() => ({}));
  const message = told.error?.message ?? told.detail ?? "The service did not say why.";
  const code = told.error?.code ?? told.code ?? "";
  const retryAfter = response.headers.get("Retry-After") ?? "";
  return new ServiceError(message, { status: response.status, code, retryAfter });
}

// Resolve to whether there is another key than the one that was refused.
async function askForKey(refused) {
  if (held !== refused) return true;
  const reason = refused ? "The service did not accept that key." : "The service asks for a key.";
  // Calls that are refused at the same time share one dialog.
  asking ??= showDialog(reason).finally(() => (asking = null));
  return asking;
}

function showDialog(reason) {
  document.getElementById("key-reason").textContent = reason;
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "given"), { once: true });
  });
}

dialog.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  held = input.value.trim();
  input.value = "";
  keep(held);
  dialog.close(held ? "given" : "");
  document.dispatchEvent(new Event("newkey"));
});
document.getElementById("key-cancel").addEventListener("click", () => dialog.close(""));
document.getElementById("key-button").addEventListener("click", () => {
  const reason = held
    ? "This tab has a key. Another one replaces it, an empty one removes it."
    : "Give this tab one of the service's keys.";
  asking ??= showDialog(reason).finally(() => (asking = null));
});
