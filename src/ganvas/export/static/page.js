// A generator that runs in this page. Text from the model's file is put in as text, never as markup.
const $ = (id) => document.getElementById(id);
const facts = JSON.parse($("facts").textContent);
const [channels, height, width] = facts.shape;
const pixels = height * width;

// --- what is inside ---------------------------------------------------------------------------------------------------

async function unpack(name) {
  const text = $("file-" + name).textContent;
  const packed = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : fromBase64(text);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function fromBase64(text) {
  const letters = atob(text), found = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) found[i] = letters.charCodeAt(i);
  return found;
}

const known = {}; // name -> typed array; rows(name, i) is one row of it
function rows(name, i) {
  const size = facts.numbers[name].shape.slice(1).reduce((a, b) => a * b, 1);
  return known[name].subarray(i * size, (i + 1) * size);
}

// --- what draws: workers, so that the page answers while a picture takes long ---------------------------------------------

/** Opens networks and runs them, one thing after the other. Its text is a worker's; a page that may start none calls it. */
function makeEngine() {
  const networks = {};
  let ort, last = null;
  const tensors = (feeds) =>
    Object.fromEntries(Object.entries(feeds).map(([name, [kind, data, shape]]) => [name, new ort.Tensor(kind, data, shape)]));
  const acts = {
    async open({ runtime, wasm, graphs, provider }) {
      const url = URL.createObjectURL(new Blob([runtime], { type: "text/javascript" }));
      ort = await import(url);
      URL.revokeObjectURL(url);
      ort.env.wasm.numThreads = 1; // a page from a file is not isolated, so there is no memory to share
      ort.env.wasm.wasmBinary = wasm;
      const options = { executionProviders: [provider], logSeverityLevel: 3 };
      for (const [name, graph] of Object.entries(graphs))
        networks[name] = await ort.InferenceSession.create(new Uint8Array(graph), options);
    },
    /** The output of a network: as it is, or as bytes between the ends of a range. */
    async run({ part, feeds, range }) {
      const network = networks[part];
      const drawn = (await network.run(tensors(feeds)))[network.outputNames[0]].data;
      if (!range) return Float32Array.from(drawn);
      const bytes = new Uint8ClampedArray(drawn.length), [black, white] = range;
      for (let i = 0; i < drawn.length; i++) {
        if (!Number.isFinite(drawn[i])) throw new Error("The generator drew NaN or infinity here.");
        bytes[i] = Math.round(((drawn[i] - black) / (white - black)) * 255);
      }
      return bytes;
    },
  };
  return (act, given) => (last = Promise.resolve(last).catch(() => {}).then(() => acts[act](given)));
}

/** A worker with an engine in it: `await call(act, given)`; the arrays of `moved` are its own from then on. */
async function inWorker() {
  // Not a module of its own: a page from a file may start none. It imports by itself.
  const source = `const engine = (${makeEngine})();
    onmessage = async ({ data: { id, act, given } }) => {
      try {
        const found = await engine(act, given);
        postMessage({ id, found }, found ? [found.buffer] : []);
      } catch (error) {
        postMessage({ id, error: error.message ?? String(error) });
      }
    };
    postMessage({ id: 0 });`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url), waiting = new Map();
  let calls = 0;
  try {
    await new Promise((done, failed) => {
      waiting.set(0, { done, failed });
      worker.onmessage = ({ data: { id, found, error } }) => {
        const each = waiting.get(id);
        waiting.delete(id);
        if (error === undefined) each.done(found);
        else each.failed(new Error(error));
      };
      worker.onerror = (event) => {
        for (const each of waiting.values()) each.failed(new Error(event.message ?? "the worker stopped"));
        waiting.clear();
      };
    });
  } finally {
    URL.revokeObjectURL(url);
  }
  return {
    call: (act, given, moved = []) => new Promise((done, failed) => {
      waiting.set(++calls, { done, failed });
      worker.postMessage({ id: calls, act, given }, moved);
    }),
    end: () => worker.terminate(),
  };
}

async function opened(provider, parts) {
  const [script, binary] = provider === "webgpu" ? ["gpu-runtime", "gpu-wasm"] : ["runtime", "wasm"];
  const [engine, runtime, wasm, ...graphs] = await Promise.all([
    inWorker().catch(() => { // some browsers start none from a file
      const here = makeEngine();
      return { call: here, end: () => {} };
    }),
    ...[script, binary, ...parts].map(unpack),
  ]);
  const named = Object.fromEntries(parts.map((part, i) => [part, graphs[i]]));
  try {
    await engine.call("open", { runtime, wasm, graphs: named, provider }, [wasm, ...graphs]);
  } catch (error) {
    engine.end();
    throw error;
  }
  return engine;
}

const drawing = facts.parts.at(-1); // the part that gives pictures
let cpu, gpu = null, gpuWords = "";
async function open() {
  const numbers = await unpack("numbers");
  for (const [name, { at, shape, kind }] of Object.entries(facts.numbers)) {
    const count = shape.reduce((a, b) => a * b, 1);
    known[name] = kind === "uint8" ? new Uint8Array(numbers, at, count) : new Float32Array(numbers, at, count);
  }
  cpu = await opened("wasm", facts.parts);
}

async function run(part, feeds) {
  if (part !== drawing) return cpu.call("run", { part, feeds });
  const given = { part, feeds, range: facts.range };
  if (gpu) {
    try {
      return await gpu.call("run", given);
    } catch (error) { // the device is gone, say
      without(`stopped: ${error.message}`);
    }
  }
  return cpu.call("run", given);
}
const floats = (values, shape) => ["float32", Float32Array.from(values), shape];
const whole = (value) => ["int64", BigInt64Array.of(BigInt(value)), [1]];

// --- WebGPU, where there is one, it draws the same, and it is quicker -------------------------------------------------------

const LEVELS = 2; // of 255, that a pixel may be off
const TRIED = 3; // pictures
function without(why) {
  gpu?.end();
  gpu = null;
  gpuWords = `WebGPU ${why}.`;
  engineWords();
}
function engineWords() {
  $("engine-words").textContent = `Computed by ${gpu ? "WebGPU" : "WebAssembly, on the processor"}. ${gpuWords}`;
  document.body.dataset.engine = gpu ? "webgpu" : "wasm";
}
async function quickest(engine, given) {
  let least = Infinity, drawn;
  for (let i = 0; i < TRIED; i++) {
    const begin = performance.now();
    drawn = await engine.call("run", given);
    least = Math.min(least, performance.now() - begin);
  }
  return [drawn, least];
}
/** Draw with WebGPU from now on, if it gives the picture that WebAssembly gives, in less time. `anyway`: though it is slower. */
async function tryGpu(anyway = false) {
  if (!$("file-gpu-runtime")) return engineWords();
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return without("is not there in this browser");
    if (!anyway && (adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter)) return without("is there without a graphics card only");
    const engine = await opened("webgpu", [drawing]);
    try {
      const of = { ...usual(), number: state.number, seed: state.seed };
      const given = { part: drawing, feeds: feedsOf(await pointOf(of, 0), of), range: facts.range };
      const [wanted, slow] = await quickest(cpu, given);
      const [drawn, quick] = await quickest(engine, given);
      const off = wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - drawn[i])), 0);
      const times = `${quick.toFixed(1)} ms a picture, WebAssembly ${slow.toFixed(1)} ms`;
      if (off > LEVELS) throw new Error(`its picture is ${off} grey levels off`);
      if (quick > slow && !anyway) throw new Error(`it is slower (${times})`);
      gpuWords = `It takes ${times}; their pictures differ by ${off} of 255 at most.`;
      gpu = engine;
    } catch (error) {
      engine.end();
      throw error;
    }
  } catch (error) {
    return without(`is not used: ${error.message ?? error}`);
  }
  engineWords();
}

// --- the state, and the address that holds it ---------------------------------------------------------------------------

/** What is looked at: the sample `number` of `seed`, the class, and all that is done to it, as `ganvas.web.state.State` has it. */
const usual = () => ({
  seed: 0, number: facts.start, label: null, other: null, share: 0, psi: 1, moves: facts.directions.map(() => 0),
  first: 0, last: Math.max(0, facts.layers - 1), mix: null, noise: null, at: [0, 0, 0], to: -1, place: 0, equal: true,
});
let state = usual();

function within(text, low, high, otherwise) {
  const value = Number(text);
  return text !== null && text !== "" && Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
}

function toAddress(of) {
  const said = [["n", of.number]], plain = usual();
  if (of.seed) said.push(["s", of.seed]);
  if (of.label !== null) said.push(["c", of.label]);
  if (of.other !== null) said.push(["o", of.other], ["os", of.share]);
  if (of.psi !== 1) said.push(["psi", of.psi]);
  if (of.first || of.last !== plain.last) said.push(["ls", `${of.first},${of.last}`]);
  if (of.mix) said.push(["mix", of.mix.join(",")]);
  if (of.noise !== null) said.push(["z", of.noise]);
  if (of.at.some(Boolean)) said.push(["at", of.at.join(",")]);
  const moved = of.moves.map((by, i) => (by ? `${i}:${by}` : "")).filter(Boolean);
  if (moved.length) said.push(["d", moved.join(",")]);
  if (of.to >= 0) said.push(["to", of.to], ["t", of.place]);
  if (!of.equal) said.push(["equal", 0]);
  return "#" + said.map((pair) => pair.join("=")).join("&");
}

function fromAddress(text) {
  const said = new URLSearchParams(text.replace(/^#/, "")), found = usual(), top = found.last;
  const count = (text, most, otherwise) => Math.round(within(text ?? null, 0, most, otherwise));
  const several = (name) => (said.get(name) ?? "").split(",");
  found.number = count(said.get("n"), facts.last, found.number);
  found.seed = count(said.get("s"), facts.last, 0);
  if (facts.classes && said.has("c")) found.label = count(said.get("c"), facts.classes.length - 1, 0);
  if (facts.mixes && said.has("o")) {
    found.other = count(said.get("o"), facts.classes.length - 1, 0);
    found.share = within(said.get("os"), 0, 1, 0.5);
  }
  if (facts.layers) {
    const [low, high] = several("ls");
    found.first = count(low, top, 0);
    found.last = Math.max(found.first, count(high, top, top));
    if (said.has("mix")) {
      const [number, from, to] = several("mix"), first = count(from, top, 0);
      found.mix = [count(number, facts.last, 0), first, Math.max(first, count(to, top, top))];
    }
  }
  if (facts.noise && said.has("z")) found.noise = count(said.get("z"), facts.last, 0);
  if (facts.transform) found.at = several("at").concat("", "").slice(0, 3).map((each, i) => within(each, -FARTHEST[i], FARTHEST[i], 0));
  found.psi = within(said.get("psi"), 0, 1.5, 1);
  for (const each of (said.get("d") ?? "").split(",")) {
    const [i, by] = each.split(":");
    if (/^\d+$/.test(i) && i in facts.directions) found.moves[i] = within(by, -4, 4, 0);
  }
  found.to = Math.round(within(said.get("to"), -1, facts.last, -1));
  found.place = within(said.get("t"), 0, 1, 0);
  found.equal = said.get("equal") !== "0";
  return found;
}

const FARTHEST = [1, 1, 180]; // to the right and down, in widths of the picture, and turned, in degrees
const labelOf = (of) => (facts.classes ? of.label ?? of.number % facts.classes.length : null);

// --- from a state to a picture ------------------------------------------------------------------------------------------

const mapped = new Map(); // of samples: their points
/** The point of a sample of the state's seed, class, and mixed class. */
async function sample(number, of) {
  const z = latent(number, of.seed);
  if (facts.space !== "w") return z;
  const key = [number, of.seed, labelOf(of), of.other, of.share].join(" ");
  if (!mapped.has(key)) {
    const feeds = { z: floats(z, [1, z.length]), ...classOf(of) };
    if (mapped.size > 4096) mapped.clear();
    mapped.set(key, await run("mapping", feeds));
  }
  return mapped.get(key);
}

const length = (x) => Math.hypot(...x);
function between(a, b, t) {
  if (facts.flat) return a.map((value, i) => value + (b[i] - value) * t);
  // Along the great circle, the length going evenly from one's to the other's (Shoemake 1985).
  const longA = Math.max(length(a), 1e-12), longB = Math.max(length(b), 1e-12);
  const cosine = a.reduce((sum, value, i) => sum + (value / longA) * (b[i] / longB), 0);
  const angle = Math.acos(Math.min(1 - 1e-7, Math.max(-1 + 1e-7, cosine)));
  const long = (longA + (longB - longA) * t) / Math.sin(angle);
  const [shareA, shareB] = [Math.sin((1 - t) * angle) / longA, Math.sin(t * angle) / longB];
  return a.map((value, i) => (shareA * value + shareB * b[i]) * long);
}

function classOf(of) {
  if (!facts.classes) return {};
  const found = { labels: whole(labelOf(of)) };
  if (!facts.mixes) return found;
  return { ...found, other: whole(of.other ?? labelOf(of)), share: floats([of.other === null ? 0 : of.share], []) };
}
/** What truncation pulls to: the mean of the class, or the way between those of two. */
function middleOf(of) {
  if (facts.numbers.middles.shape[0] === 1) return rows("middles", 0);
  const own = rows("middles", labelOf(of));
  return of.other === null ? own : own.map((value, i) => value + of.share * (rows("middles", of.other)[i] - value));
}

async function pointOf(of, time) {
  let point = Float32Array.from(await sample(of.number, of));
  if (of.to >= 0 && time > 0) point = between(point, await sample(of.to, of), time);
  const middle = middleOf(of);
  if (of.psi !== 1) point = point.map((value, i) => middle[i] + of.psi * (value - middle[i]));
  // A direction that was made for some layers keeps them; the others move those of the state.
  const some = of.first > 0 || of.last < facts.layers - 1;
  const chosen = facts.layers && some ? Array.from({ length: of.last - of.first + 1 }, (_, i) => of.first + i) : [];
  const layersOf = (i) => (facts.directions[i].layers.length ? facts.directions[i].layers : chosen);
  const layered = of.mix || of.moves.some((by, i) => by && layersOf(i).length);
  const copies = layered ? facts.layers : 1, size = point.length;
  const all = new Float32Array(copies * size);
  for (let row = 0; row < copies; row++) all.set(point, row * size);
  if (of.mix) {
    const [number, first, last] = of.mix, style = await sample(number, of);
    for (let row = first; row <= last; row++) all.set(style, row * size);
  }
  of.moves.forEach((by, i) => {
    if (!by) return;
    const { sigma } = facts.directions[i], layers = layersOf(i), vector = rows("directions", i);
    for (let row = 0; row < copies; row++)
      if (!layers.length || layers.includes(row)) for (let k = 0; k < size; k++) all[row * size + k] += by * sigma * vector[k];
  });
  return { point: all, copies, size };
}

function feedsOf({ point, copies, size }, of) {
  const w = facts.space === "w";
  const feeds = w ? { w: floats(point, [1, copies, size]) } : { z: floats(point, [1, size]), ...classOf(of) };
  if (facts.truncation !== null) {
    const level = of.psi === 1 ? facts.truncation : Math.min(1, Math.max(facts.leastTruncation, facts.truncation * of.psi));
    feeds.truncation = floats([level], []);
  }
  if (facts.transform) feeds.transform = floats(of.at.some(Boolean) ? placement(...of.at) : facts.transform.flat(), [3, 3]);
  return { ...feeds, ...noiseOf(of.noise) };
}
/** The transform of StyleGAN3 that moves a picture to the right and down, and turns it: the inverse, as it is published. */
function placement(right, down, degrees) {
  const c = Math.cos((degrees * Math.PI) / 180), s = Math.sin((degrees * Math.PI) / 180);
  return [c, -s, s * down - c * right, s, c, -s * right - c * down, 0, 0, 1];
}

let drawnNoise = { seed: null, maps: [] };
/** The noise maps of a seed, as the explorer draws them; of null the fixed ones. */
function noiseOf(seed) {
  const names = Array.from({ length: facts.noise }, (_, i) => `noise_${i}`);
  if (seed !== null && drawnNoise.seed !== seed) {
    const random = stream(seed, "noise");
    const maps = names.map((name) => {
      const count = facts.numbers[name].shape.reduce((a, b) => a * b, 1);
      return facts.uniformNoise ? uniform(random, count) : normal(random, count);
    });
    drawnNoise = { seed, maps };
  }
  return Object.fromEntries(names.map((name, i) => [name, floats(seed === null ? known[name] : drawnNoise.maps[i], facts.numbers[name].shape)]));
}
/** The picture of a point as bytes (channels, height, width). */
const decode = (point, of) => run(drawing, feedsOf(point, of));

// --- the random numbers of torch on a processor, from the streams of `ganvas.device.stream` ---------------------------------

/** The Mersenne twister (Matsumoto and Nishimura 1998): a function that gives the next 32 bits. */
function stream(seed, name) {
  const within63 = (1n << 63n) - 1n;
  let mixed = (BigInt(seed) * 0x9e3779b97f4a7c15n) & within63;
  for (const letter of new TextEncoder().encode(name)) mixed = ((mixed ^ BigInt(letter)) * 0x100000001b3n) & within63;
  const state = new Uint32Array(624);
  state[0] = Number(mixed & 0xffffffffn);
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let at = 624;
  return () => {
    if (at === 624) {
      for (let i = 0; i < 624; i++) {
        const joined = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (joined >>> 1) ^ (joined & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let bits = state[at++];
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    return (bits ^ (bits >>> 18)) >>> 0;
  };
}
const uniform = (random, count) => Float32Array.from({ length: count }, () => (random() & 0xffffff) / 2 ** 24);
/** Standard normal numbers, 16 or more: eight pairs at a time (Box and Muller 1958), the last 16 anew where they are not even. */
function normal(random, count) {
  const found = uniform(random, count);
  const turn = (at) => {
    for (let i = at; i < at + 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - found[i])), angle = 2 * Math.PI * found[i + 8];
      found[i] = radius * Math.cos(angle);
      found[i + 8] = radius * Math.sin(angle);
    }
  };
  for (let at = 0; at + 16 <= count; at += 16) turn(at);
  if (count % 16) {
    found.set(uniform(random, 16), count - 16);
    turn(count - 16);
  }
  return found;
}

const blocks = new Map();
/** z of a sample, as `Model.latents_at` draws it. */
function latent(number, seed) {
  const block = Math.floor(number / facts.block), size = facts.latents, key = `${block} ${seed}`;
  if (!blocks.has(key)) {
    const random = stream(seed, block ? `latents ${block}` : "latents"), count = facts.block * size;
    if (blocks.size > 64) blocks.clear();
    blocks.set(key, facts.prior === "uniform" ? uniform(random, count).map((value) => 2 * value - 1) : normal(random, count));
  }
  const at = (number % facts.block) * size;
  return toPrior(blocks.get(key).slice(at, at + size));
}
/** As `ganvas.networks.base.to_prior`. */
function toPrior(z) {
  const [name, ...sizes] = facts.prior.split(" ");
  if (name === "sphere") {
    const long = Math.max(length(z), 1e-12);
    return z.map((value) => (value / long) * Math.sqrt(z.length));
  }
  if (name === "truncated") return z.map((value) => Number(sizes[0]) * Math.SQRT2 * inverseErf(erf(value / Math.SQRT2) * erf(CUT / Math.SQRT2)));
  let at = 0;
  if (name === "categorical") for (const size of sizes.map(Number)) {
    const block = z.subarray(at, at + size), best = block.indexOf(Math.max(...block));
    block.fill(0)[best] = 1;
    at += size;
  }
  return z;
}
const CUT = 2;
function erf(x) {
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
function inverseErf(share) { // by Newton, within the cut
  let x = 0;
  for (let i = 0; i < 12; i++) x -= ((erf(x) - share) * Math.sqrt(Math.PI) * Math.exp(x * x)) / 2;
  return x;
}

function put(canvas, bytes, [c, h, w]) {
  canvas.width = w;
  canvas.height = h;
  const image = new ImageData(w, h), size = h * w;
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = c === 1 ? bytes[i] : k < c ? bytes[k * size + i] : 0;
    image.data[4 * i + 3] = c === 4 ? bytes[3 * size + i] : 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Share of usual points that lie further from the typical shell, as `LatentSpace.typicality` counts it. */
function typicality({ point, copies, size }) {
  const lengths = known.lengths, step = new Float64Array(size);
  for (let k = 0; k < size; k++) {
    for (let row = 0; row < copies; row++) step[k] += point[row * size + k] / copies;
    if (known.white) step[k] -= known.middle[k];
  }
  let long = 0;
  const matrix = known.white && facts.numbers.white.shape.length === 2;
  for (let j = 0; j < size; j++) {
    let value = matrix ? 0 : step[j] * (known.white ? known.white[j] : 1);
    if (matrix) for (let k = 0; k < size; k++) value += step[k] * known.white[k * size + j];
    long += value * value;
  }
  let low = 0, high = lengths.length;
  while (low < high) {
    const half = (low + high) >> 1;
    if (lengths[half] < long) low = half + 1;
    else high = half;
  }
  const below = low / lengths.length;
  return 2 * Math.min(below, 1 - below);
}

// --- equal steps ----------------------------------------------------------------------------------------------------------

/** A picture averaged over 1, 2, 4, ... pixels, every level weighing the same: what pictures are compared by. */
function pyramid(bytes, [c, h, w]) {
  const found = [];
  let level = Float32Array.from(bytes, (value) => value / 255);
  for (;;) {
    const scale = 1 / Math.sqrt(level.length);
    for (const value of level) found.push(value * scale);
    if (Math.min(h, w) < 4) return Float32Array.from(found);
    [level, h, w] = halved(level, c, h, w, 2);
  }
}
function halved(level, c, h, w, by) {
  const high = Math.floor(h / by), wide = Math.floor(w / by), next = new Float32Array(c * high * wide);
  for (let k = 0; k < c; k++) for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
    let sum = 0;
    for (let dy = 0; dy < by; dy++) for (let dx = 0; dx < by; dx++) sum += level[(k * h + y * by + dy) * w + x * by + dx];
    next[(k * high + y) * wide + x] = sum / by ** 2;
  }
  return [next, high, wide];
}
function apart(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum);
}

let measured = { key: "", way: null };
/** The way from sample to sample as shares of the visible change at evenly spaced times. */
async function wayOf(of) {
  const key = toAddress({ ...of, place: 0 });
  if (measured.key === key) return measured.way;
  const count = height * width <= 64 * 64 ? 64 : 16, way = [0]; // by the size alone: a link leads to one place on every machine
  let before = null;
  for (let i = 0; i <= count; i++) {
    const bytes = await decode(await pointOf(of, i / count), of);
    const seen = pyramid(bytes, facts.shape);
    if (before) way.push(way[i - 1] + apart(before, seen));
    before = seen;
  }
  measured = { key, way };
  return way;
}
async function timeOf(of) {
  if (of.to < 0 || !of.equal || of.place === 0 || of.place === 1) return of.place;
  const way = await wayOf(of), last = way.length - 1, wanted = of.place * way[last];
  if (!way[last]) return of.place;
  let i = 1;
  while (i < last && way[i] < wanted) i++;
  return (i - 1 + (wanted - way[i - 1]) / Math.max(1e-12, way[i] - way[i - 1])) / last;
}

// --- drawing, one picture at a time, the newest first -----------------------------------------------------------------------

let cost = 0, wanted = false, busy = null, picture = null, written = 0;
const times = [];

async function drawOnce() {
  const of = { ...state, moves: [...state.moves] }, time = await timeOf(of);
  const begin = performance.now();
  const place = await pointOf(of, time);
  const bytes = await decode(place, of);
  put($("picture"), bytes, facts.shape);
  cost = performance.now() - begin;
  times.push(cost);
  if (times.length > 5000) times.shift();
  picture = bytes;
  const usualness = typicality(place);
  $("typicality").value = usualness;
  $("typical").textContent = Math.round(100 * usualness) + " %";
  $("say").textContent = words(of) + `, drawn in ${cost.toFixed(cost < 10 ? 1 : 0)} ms`;
  clearTimeout(written);
  written = setTimeout(atRest, 250);
}

function draw() {
  wanted = true;
  busy ??= (async () => {
    try {
      while (wanted) {
        wanted = false;
        await drawOnce();
        await new Promise((done) => requestAnimationFrame(done));
      }
    } catch (error) {
      $("say").textContent = error.message;
    } finally {
      busy = null;
    }
  })();
  return busy;
}

function words(of) {
  const moved = of.moves.filter(Boolean).length;
  const parts = [of.to >= 0 && of.place > 0 ? `between samples ${of.number} and ${of.to}` : `sample ${of.number}`];
  if (of.seed) parts.push(`seed ${of.seed}`);
  if (facts.classes) parts.push(facts.classes[labelOf(of)]);
  if (of.other !== null) parts.push(`${Math.round(100 * of.share)} % ${facts.classes[of.other]}`);
  if (of.psi !== 1) parts.push(`truncated to ${of.psi}`);
  if (moved) parts.push(moved === 1 ? "one direction" : `${moved} directions`);
  return parts.join(", ");
}

function atRest() {
  try {
    history.replaceState(null, "", toAddress(state));
  } catch { /* some browsers limit how often; the next rest writes it */ }
  nearest();
}

function change(by) {
  state = { ...state, ...by };
  show();
  return draw();
}

// --- the controls -----------------------------------------------------------------------------------------------------------

const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(1);
const bars = [], places = [];
function show() {
  $("number").value = $("number-field").value = state.number;
  $("psi").value = state.psi;
  $("psi-value").textContent = state.psi.toFixed(2);
  $("seed").value = state.seed;
  if (facts.classes) $("class").value = labelOf(state);
  $("other").value = state.other ?? "";
  $("share").value = state.share;
  $("share").disabled = state.other === null;
  $("share-value").textContent = state.other === null ? "" : Math.round(100 * state.share) + " %";
  $("noise").value = state.noise ?? "";
  places.forEach(({ bar, value, unit }, i) => {
    bar.value = state.at[i];
    value.textContent = state.at[i] + unit;
  });
  for (const name of ["first", "last"]) $(name).value = state[name];
  $("mix").value = state.mix ? state.mix[0] : "";
  const [, from, to] = state.mix ?? [0, Math.floor(facts.layers / 2), facts.layers - 1];
  if (state.mix || !$("mix-first").value) [$("mix-first").value, $("mix-last").value] = [from, to];
  bars.forEach(({ bar, value }, i) => {
    bar.value = state.moves[i];
    value.textContent = state.moves[i] ? signed(state.moves[i]) : "0";
  });
  $("to").value = state.to;
  $("to-value").textContent = state.to < 0 ? "none" : state.to;
  $("place").value = state.place;
  $("place").disabled = state.to < 0;
  $("place-value").textContent = Math.round(100 * state.place) + " %";
  $("equal").checked = state.equal;
  for (const tile of $("gallery").children) tile.classList.toggle("here", !state.seed && Number(tile.dataset.number) === state.number);
  drawMap();
}

const any = () => Math.floor(Math.random() * facts.samples);
const actions = {
  random: () => change({ number: any(), to: -1, place: 0, label: state.label }),
  reset: () => change({ ...usual(), number: state.number, seed: state.seed }),
  save: () => $("picture").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `sample-${state.number}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }),
  link: async () => {
    atRest();
    try {
      await navigator.clipboard.writeText(location.href);
      $("say").textContent = "The link is copied; the part from # on leads here in any copy of this file.";
    } catch {
      $("say").textContent = `Copy this: ${location.href}`;
    }
  },
  play: async () => {
    if (playing) return void (playing = false);
    playing = true;
    $("play").textContent = "Stop";
    if (state.to < 0) await change({ to: any(), place: 0 });
    const begin = performance.now(), from = state.place < 1 ? state.place : 0;
    while (playing && state.to >= 0) {
      const place = Math.min(1, from + (performance.now() - begin) / 4000);
      await change({ place: Math.round(1000 * place) / 1000 });
      if (place === 1) break;
    }
    playing = false;
    $("play").textContent = "Walk";
  },
};
let playing = false;

function controls() {
  for (const id of ["number", "to"]) $(id).max = facts.samples - 1;
  for (const id of ["number-field", "seed", "noise", "mix"]) $(id).max = facts.last;
  $("number").oninput = () => change({ number: Number($("number").value) });
  $("number-field").onchange = () => change({ number: Math.round(within($("number-field").value, 0, facts.last, state.number)) });
  styleControls();
  $("psi").oninput = () => change({ psi: Number($("psi").value) });
  (facts.classes || []).forEach((name, i) => $("class").add(new Option(name, i)));
  $("class-row").hidden = !facts.classes;
  $("class").onchange = () => change({ label: Number($("class").value) });
  facts.directions.forEach(({ name, layers }, i) => {
    const moved = (to) => change({ moves: state.moves.map((by, k) => (k === i ? to : by)) });
    const made = slider("sliders", name, 4, 0.1, moved);
    if (layers.length) made.row.title += `, in layers ${layers.join(", ")}`;
    bars.push(made);
  });
  $("to").oninput = () => change({ to: Number($("to").value), place: Number($("to").value) < 0 ? 0 : state.place });
  $("place").oninput = () => change({ place: Number($("place").value) });
  $("equal").onchange = () => change({ equal: $("equal").checked });
  for (const [id, act] of Object.entries(actions)) $(id).onclick = act;
  const keys = { n: "random", r: "reset", s: "save", l: "link", w: "play" };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=number], select");
    if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key]) actions[keys[event.key]]();
  });
  addEventListener("hashchange", () => {
    state = fromAddress(location.hash);
    show();
    draw();
  });
}

/** A row with a slider from -reach to reach; a double click sets it to 0. */
function slider(into, words, reach, step, moved) {
  const row = document.createElement("label"), name = document.createElement("span");
  const bar = document.createElement("input"), value = document.createElement("output");
  row.className = "row";
  name.textContent = row.title = words;
  Object.assign(bar, { type: "range", min: -reach, max: reach, step });
  bar.oninput = () => moved(Number(bar.value));
  bar.ondblclick = () => moved(0);
  row.append(name, bar, value);
  $(into).append(row);
  return { row, bar, value };
}

/** What only some generators have: mixed classes, a place, noise, layers. */
function styleControls() {
  const number = (id, most, otherwise) => ($(id).value === "" ? otherwise : Math.round(within($(id).value, 0, most, otherwise)));
  $("seed").onchange = () => change({ seed: number("seed", facts.last, 0) });
  $("mixed-rows").hidden = !facts.mixes;
  $("other").add(new Option("none", ""));
  if (facts.mixes) facts.classes.forEach((name, i) => $("other").add(new Option(name, i)));
  $("other").onchange = () => {
    const other = $("other").value === "" ? null : Number($("other").value);
    return change({ other, share: other === null ? 0 : state.share || 0.5 });
  };
  $("share").oninput = () => change({ share: Number($("share").value) });
  $("place-rows").hidden = !facts.transform;
  ["to the right", "down", "turned"].forEach((words, i) => {
    const moved = (to) => change({ at: state.at.map((value, k) => (k === i ? to : value)) });
    places.push({ ...slider("place-rows", words, FARTHEST[i], i < 2 ? 0.01 : 1, moved), unit: i < 2 ? "" : "°" });
  });
  $("noise-row").hidden = !facts.noise;
  $("noise").onchange = () => change({ noise: number("noise", facts.last, null) });
  const top = facts.layers - 1;
  $("layer-rows").hidden = !facts.layers;
  for (const id of ["first", "last", "mix-first", "mix-last"]) $(id).max = top;
  $("first").onchange = () => change({ first: number("first", state.last, 0) });
  $("last").onchange = () => change({ last: Math.max(state.first, number("last", top, top)) });
  for (const id of ["mix", "mix-first", "mix-last"]) $(id).onchange = () => {
    const first = number("mix-first", top, 0), last = Math.max(first, number("mix-last", top, top));
    return change({ mix: $("mix").value === "" ? null : [number("mix", facts.last, 0), first, last] });
  };
}

// --- the map ------------------------------------------------------------------------------------------------------------------

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
function colour(share) {
  const at = Math.min(share, 0.9999) * (VIRIDIS.length - 1), i = Math.floor(at), t = at - i;
  return `rgb(${VIRIDIS[i].map((value, k) => Math.round(value + (VIRIDIS[i + 1][k] - value) * t)).join(" ")})`;
}
const dots = () => facts.numbers.places.shape[0];
const spot = (i, side) => [(0.5 + known.places[2 * i] * 0.475) * side, (0.5 - known.places[2 * i + 1] * 0.475) * side];

function drawMap() {
  const map = $("map"), side = Math.round(map.clientWidth * devicePixelRatio);
  if (!side || !known.places) return;
  if (map.width !== side) map.width = map.height = side;
  const pen = map.getContext("2d"), size = Math.max(1.5, side / 160);
  pen.clearRect(0, 0, side, side);
  const circle = (i, radius) => {
    pen.beginPath();
    pen.arc(...spot(i, side), radius, 0, 2 * Math.PI);
  };
  for (let i = 0; i < dots(); i++) {
    pen.fillStyle = colour(known.colours[i]);
    circle(i, size);
    pen.fill();
  }
  const style = getComputedStyle(document.documentElement);
  const ring = (i, name) => {
    if (i < 0 || i >= dots()) return;
    pen.strokeStyle = style.getPropertyValue(name);
    pen.lineWidth = size * 0.9;
    circle(i, size * 2.6);
    pen.stroke();
  };
  if (state.seed) return;
  ring(state.to, "--soft");
  ring(state.number, "--accent");
}

function mapControls() {
  const map = $("map");
  $("map-words").textContent = `alike samples lie together; colour: ${facts.mapColour}`;
  const go = (number) => change({ seed: 0, number, label: null, place: 0 });
  map.onclick = (event) => {
    const box = map.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = 0, least = Infinity;
    for (let i = 0; i < dots(); i++) {
      const [dx, dy] = spot(i, box.width), away = (dx - x) ** 2 + (dy - y) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    go(best);
  };
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  map.onkeydown = (event) => {
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    const [x, y] = spot(Math.min(state.number, dots() - 1), 1);
    let best = -1, least = Infinity;
    for (let i = 0; i < dots(); i++) {
      const [dx, dy] = spot(i, 1), along = (dx - x) * way[0] + (dy - y) * way[1];
      const aside = Math.abs((dx - x) * way[1]) + Math.abs((dy - y) * way[0]);
      if (i !== state.number && along > 0 && aside <= along && along + aside < least) [best, least] = [i, along + aside];
    }
    if (best >= 0) go(best);
  };
  new ResizeObserver(drawMap).observe(map);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
}

// --- samples, real pictures, licences -----------------------------------------------------------------------------------------

async function gallery() {
  const begin = performance.now();
  for (let number = 0; number < 24 && performance.now() - begin < 4000; number++) {
    const of = { ...usual(), number };
    const tile = document.createElement("button"), canvas = document.createElement("canvas");
    put(canvas, await decode(await pointOf(of, 0), of), facts.shape);
    tile.dataset.number = number;
    tile.title = `sample ${number}`;
    tile.setAttribute("aria-label", tile.title);
    tile.onclick = () => change({ seed: 0, number, label: null, to: -1, place: 0 });
    tile.append(canvas);
    $("gallery").append(tile);
    await new Promise((done) => setTimeout(done));
  }
  show();
}

let looks = null;
function nearest() {
  if (!known.reals || !picture) return;
  const [count, c, h, w] = facts.numbers.reals.shape, shape = [c, h, w];
  looks ??= Array.from({ length: count }, (_, i) => pyramid(rows("reals", i), shape));
  const by = Math.max(1, Math.floor(Math.max(height, width) / Math.max(h, w)));
  const small = by === 1 ? picture : halved(picture, channels, height, width, by)[0];
  const here = pyramid(small, shape);
  const order = looks.map((each, i) => [apart(each, here), i]).sort((a, b) => a[0] - b[0]);
  $("reals").replaceChildren(...order.slice(0, 6).map(([, i]) => {
    const canvas = document.createElement("canvas");
    put(canvas, rows("reals", i), shape);
    return canvas;
  }));
}

function describe() {
  document.title = `${facts.name}: a generator that runs in this page`;
  $("name").textContent = facts.name;
  $("about").textContent = `a generator (${facts.family}, ${width} x ${height} px) that runs in this page: nothing is loaded, nothing is sent`;
  $("picture").classList.toggle("large", Math.max(height, width) >= 256);
  $("gallery").classList.toggle("large", Math.max(height, width) >= 128);
  $("walk-words").textContent = "With equal steps every step of the slider changes the picture as much as any other.";
  $("numbers-words").textContent = `Seeds and samples are those of ganvas, whatever their numbers. Model ${facts.hash}.`;
  if (facts.numbers.reals) {
    $("reals-box").hidden = false;
    $("reals-words").textContent = `Of ${facts.numbers.reals.shape[0]} real pictures that are inside, as the eye compares them.`;
  }
  $("licences").ontoggle = async () => {
    $("licence-words").textContent = `onnxruntime-web 1.30.0\n\n${facts.licence}\n\n` + new TextDecoder().decode(await unpack("notices"));
  };
}

async function start() {
  describe();
  await open();
  controls();
  mapControls();
  state = fromAddress(location.hash);
  show();
  await draw();
  globalThis.ganvas.first = performance.now();
  document.body.dataset.ready = "yes";
  await gallery();
  await tryGpu();
  document.body.dataset.complete = "yes";
}

// For whoever wants to move it from elsewhere: `await ganvas.change({ number: 7 })`.
globalThis.ganvas = { change, times, facts, tryGpu, latent, get state() { return state; }, get engines() { return { cpu, gpu }; } };
start().catch((error) => {
  $("say").textContent = `This browser cannot run the generator: ${error.message}`;
  document.body.dataset.failed = error.message;
});
