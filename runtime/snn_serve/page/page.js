// Pictures to /predict, answers to the page. Text from the server is only ever set as text.
const at = (id) => document.getElementById(id);
const percent = (part) => `${(100 * part).toFixed(1)} %`;
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const TRIES = 5; // while the server is busy
let token = sessionStorage.getItem("token") || "";
let models = [];

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

class Refused extends Error {}

// One request. A server that is busy, or asked too often, is asked again after the time that it names.
async function ask(path, options = {}, tries = TRIES) {
  let answer;
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Refused("The server does not answer.");
  }
  if ([429, 503].includes(answer.status) && tries > 1) {
    const seconds = Number(answer.headers.get("retry-after")) || 1;
    say(`The server is busy. Trying again in ${seconds} s.`);
    await pause(seconds);
    return ask(path, options, tries - 1);
  }
  if (answer.status === 401) {
    at("access").hidden = false;
    at("token").focus();
  }
  const fields = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (!answer.ok) throw new Refused(`Refused: ${fields.error}`);
  return fields;
}

async function begin() {
  try {
    const about = await ask("v2/models");
    models = about.models;
    at("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
    at("model").value = about.default;
    at("access").hidden = true;
    at("stream").hidden = !about.camera;
    showEngine();
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

function showEngine() {
  const model = models.find(({ name }) => name === at("model").value);
  if (!model) return;
  const { height, width } = model.image;
  at("engine").textContent = `${model.engine}; ${model.labels.length} classes, ${height} × ${width}`;
}

const predict = (blob) => {
  const wanted = new URLSearchParams({ model: at("model").value, spikes: true });
  return ask(`predict?${wanted}`, { method: "POST", body: blob });
};

function newCard(name) {
  const card = at("answer").content.firstElementChild.cloneNode(true);
  card.querySelector("h3").textContent = name;
  at("answers").prepend(card);
  return card;
}

function bar({ label, probability }) {
  const row = document.createElement("li");
  const [name, track, fill, part] = ["span", "div", "div", "span"].map((tag) => document.createElement(tag));
  name.textContent = label;
  part.textContent = percent(probability);
  track.className = "bar";
  track.setAttribute("aria-hidden", "true");
  fill.style.width = `${100 * probability}%`;
  track.append(fill);
  row.append(name, track, part);
  return row;
}

const doubts = ({ unfamiliar, unsure }) => (unfamiliar ? "unlike anything in training, " : "") + (unsure ? "unsure, " : "");

function fill(card, name, answer, seconds) {
  const best = answer.predictions[0];
  card.classList.remove("bad");
  card.querySelector("h3").textContent = `${name}: ${doubts(answer)}${best.label}`;
  card.querySelector("ul").replaceChildren(...answer.predictions.map(bar));
  const parts = [`${(1000 * answer.seconds).toFixed(1)} ms in the server`];
  if (seconds) parts.push(`${(1000 * seconds).toFixed(0)} ms in all`);
  card.querySelector(".about").textContent = [...parts, answer.engine, ...answer.warnings].join("; ");
  if (!answer.layers) return;
  at("shown").textContent = name;
  answer.layers.forEach(showLayer);
  at("layers").hidden = false;
}

function fail(card, name, error) {
  card.classList.add("bad");
  card.querySelector("h3").textContent = name;
  card.querySelector("ul").replaceChildren(); // an answer to what was there before
  card.querySelector(".about").textContent = error.message;
}

function showLayer({ name, shape, rate, bits }) {
  let figure = at(`layer-${name}`);
  if (!figure) {
    figure = document.createElement("figure");
    figure.id = `layer-${name}`;
    figure.append(document.createElement("figcaption"), document.createElement("canvas"));
    figure.lastChild.setAttribute("role", "img");
    at("rasters").append(figure);
  }
  const count = shape.reduce((product, side) => product * side, 1);
  const text = `${name}: ${percent(rate)} of ${count.toLocaleString("en")} neurons fired`;
  figure.firstChild.textContent = text;
  figure.lastChild.setAttribute("aria-label", text);
  draw(figure.lastChild, shape, Uint8Array.from(atob(bits), (c) => c.charCodeAt(0)));
}

// Channels as tiles, a point apart; a layer without maps as rows of 64.
function draw(canvas, shape, bits) {
  const [channels, height, width] = shape.length === 3 ? shape : [1, Math.ceil(shape[0] / 64), Math.min(64, shape[0])];
  const across = Math.ceil(Math.sqrt(channels));
  canvas.width = across * (width + 1) - 1;
  canvas.height = Math.ceil(channels / across) * (height + 1) - 1;
  const style = getComputedStyle(document.documentElement);
  const pen = canvas.getContext("2d");
  const count = shape.reduce((product, side) => product * side, 1);
  const colours = [style.getPropertyValue("--off"), style.getPropertyValue("--mark")];
  for (const fired of [0, 1]) {
    pen.fillStyle = colours[fired];
    for (let i = 0; i < count; i++) {
      if (((bits[i >> 3] >> (7 - (i & 7))) & 1) !== fired) continue;
      const channel = Math.floor(i / (height * width));
      const x = (channel % across) * (width + 1) + (i % width);
      const y = Math.floor(channel / across) * (height + 1) + (Math.floor(i / width) % height);
      pen.fillRect(x, y, 1, 1);
    }
  }
}

async function label(files) {
  for (const file of files) {
    const card = newCard(file.name);
    const picture = card.querySelector("img");
    picture.src = URL.createObjectURL(file);
    picture.onload = picture.onerror = ({ type }) => {
      picture.hidden = type === "error"; // no browser shows every format that is read
      URL.revokeObjectURL(picture.src);
    };
    const begun = performance.now();
    try {
      const answer = await predict(file);
      fill(card, file.name, answer, (performance.now() - begun) / 1000);
      say(`${file.name}: ${doubts(answer)}${answer.predictions[0].label}, ${percent(answer.predictions[0].probability)}`);
    } catch (error) {
      fail(card, file.name, error);
      say(`${file.name}: ${error.message}`, true);
    }
  }
}

const camera = { stream: null, changing: false };

async function startCamera() {
  if (!navigator.mediaDevices) {
    say("The camera needs HTTPS, or an address of this machine.", true);
    return;
  }
  try {
    camera.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    say(`No camera: ${error.message}`, true);
    return;
  }
  at("video").srcObject = camera.stream;
  at("video").hidden = false;
  await at("video").play();
  at("camera").setAttribute("aria-pressed", "true");
  at("camera").textContent = "Stop the camera";
  watch(camera.stream, newCard("camera"));
}

// A click while the browser still asks, or the first frame has not come, does nothing.
async function turnCamera() {
  if (camera.changing) return;
  camera.changing = true;
  try {
    await (camera.stream ? stopCamera() : startCamera());
  } finally {
    camera.changing = false;
  }
}

function stopCamera() {
  for (const track of camera.stream.getTracks()) track.stop();
  camera.stream = null;
  at("video").hidden = true;
  at("camera").setAttribute("aria-pressed", "false");
  at("camera").textContent = "Use the camera";
}

// The newest frame, again and again: the next one is taken when the last is answered.
async function watch(stream, card) {
  const frame = document.createElement("canvas");
  let label = "";
  while (camera.stream === stream) {
    const begun = performance.now();
    [frame.width, frame.height] = [at("video").videoWidth, at("video").videoHeight];
    frame.getContext("2d").drawImage(at("video"), 0, 0);
    const blob = await new Promise((done) => frame.toBlob(done, "image/jpeg", 0.9));
    try {
      const answer = await predict(blob);
      fill(card, "camera", answer, (performance.now() - begun) / 1000);
      card.querySelector("img").src = frame.toDataURL("image/jpeg", 0.6);
      if (answer.predictions[0].label !== label) {
        label = answer.predictions[0].label;
        say(`camera: ${doubts(answer)}${label}`); // a screen reader hears changes only
      }
    } catch (error) {
      fail(card, "camera", error);
      say(`camera: ${error.message}`, true);
      await pause(1);
    }
  }
}

const SERVERS = "server's camera";
let listening = null;

// Events of the server's own camera: an answer each, or that there is none.
async function listen() {
  const mine = (listening = new AbortController());
  const card = newCard(SERVERS);
  card.querySelector("img").hidden = true;
  at("stream").setAttribute("aria-pressed", "true");
  at("stream").textContent = "Stop the server's camera";
  try {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const answer = await fetch("stream?spikes=true", { headers, signal: mine.signal });
    if (!answer.ok) throw new Refused(`Refused: status ${answer.status}`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) throw new Refused("The server has ended.");
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) show(card, event);
    }
  } catch (error) {
    if (mine.signal.aborted) return;
    fail(card, SERVERS, error);
    say(`${SERVERS}: ${error.message}`, true);
    stopListening();
  }
}

function show(card, event) {
  const [kind, data] = ["event: ", "data: "].map((name) =>
    event.split("\n").find((line) => line.startsWith(name))?.slice(name.length));
  if (!data) return;
  const fields = JSON.parse(data);
  if (kind === "silence") fail(card, SERVERS, new Error(`No picture for ${fields.seconds.toFixed(0)} s.`));
  else if (fields.ok) fill(card, SERVERS, fields);
  else fail(card, SERVERS, new Error(fields.error.message));
}

function stopListening() {
  listening.abort();
  listening = null;
  at("stream").setAttribute("aria-pressed", "false");
  at("stream").textContent = "Show the server's camera";
}

at("stream").addEventListener("click", () => (listening ? stopListening() : listen()));
at("model").addEventListener("change", () => {
  at("rasters").replaceChildren();
  at("layers").hidden = true;
  showEngine();
});
at("files").addEventListener("change", ({ target }) => label([...target.files]).then(() => (target.value = "")));
at("camera").addEventListener("click", turnCamera);
at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  sessionStorage.setItem("token", token);
  begin();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") label([...event.dataTransfer.files]);
  });
}
begin();
