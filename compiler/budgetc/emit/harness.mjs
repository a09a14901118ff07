// Runs the WebAssembly module that ships and reports on it: the counterpart of harness.c, with its arguments and its
// protocol. It answers to `run`, `load`, `time`, `memory` and `quit`.
//
// Nothing in a module's memory is forbidden to read. What is written beside a buffer is found: buffers are apart, and
// what lies between them is looked at after every inference.
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";

const STACK_BYTES = 65536; // of every module; it is the start of the memory
const APART = 64;
const PAINT = 0xa5;

class Refused extends Error {}

function sizesFrom(words) {
  const count = Number(words.shift());
  return words.splice(0, count).map(Number);
}

const [file, symbol, ...words] = process.argv.slice(2);
const workspaceBytes = Number(words.shift());
const inputSizes = sizesFrom(words);
const outputSizes = sizesFrom(words);
const sampleBytes = inputSizes.reduce((a, b) => a + b, 0);

const instance = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)), {});
const { memory, __heap_base: heapBase, _initialize: initialize } = instance.exports;
const infer = instance.exports[symbol];
initialize?.();

let end = heapBase.value;
const gaps = [];
function place(bytes) {
  const begin = Math.ceil((end + APART) / APART) * APART;
  gaps.push([end, begin]);
  end = begin + bytes;
  return begin;
}
const workspace = place(workspaceBytes);
const inputs = inputSizes.map(place);
const outputs = outputSizes.map(place);
const structs = [inputs, outputs].map((pointers) => place(4 * pointers.length));
gaps.push([end, end + APART]);
const missing = end + APART - memory.buffer.byteLength;
if (missing > 0) memory.grow(Math.ceil(missing / 65536));
const bytes = new Uint8Array(memory.buffer);
[inputs, outputs].forEach((pointers, i) => new Uint32Array(memory.buffer, structs[i], pointers.length).set(pointers));
for (const [from, to] of gaps) bytes.fill(PAINT, from, to);
bytes.fill(PAINT, workspace, workspace + workspaceBytes);

function put(samples, at) {
  inputSizes.forEach((size, i) => {
    bytes.set(samples.subarray(at, at + size), inputs[i]);
    at += size;
  });
}

function call() {
  const code = infer(structs[0], structs[1], workspace);
  if (code !== 0) throw new Refused(`the library returned ${code}`);
}

function checkGaps() {
  for (const [from, to] of gaps)
    for (let at = from; at < to; at++)
      if (bytes[at] !== PAINT) throw new Refused(`the library wrote beside a buffer, at ${at} of its memory`);
}

function samplesOf(path) {
  const samples = readFileSync(path);
  if (samples.length < sampleBytes) throw new Refused("the file holds no whole sample");
  return samples;
}

const commands = {
  run(from, to) {
    const samples = samplesOf(from);
    const out = openSync(to, "w");
    let done = 0;
    for (let at = 0; at + sampleBytes <= samples.length; at += sampleBytes, done++) {
      put(samples, at);
      call();
      checkGaps();
      outputSizes.forEach((size, i) => writeSync(out, bytes, outputs[i], size));
    }
    closeSync(out);
    return [done];
  },
  load(from) {
    put(samplesOf(from), 0);
    return [];
  },
  time(count) {
    const nanoseconds = [];
    for (let i = 0; i < Number(count); i++) {
      const begin = process.hrtime.bigint();
      call();
      nanoseconds.push(process.hrtime.bigint() - begin);
    }
    return nanoseconds;
  },
  memory() {
    // Between two calls nothing of the stack is in use.
    bytes.fill(PAINT, 0, STACK_BYTES);
    call();
    let lowest = 0;
    while (lowest < STACK_BYTES && bytes[lowest] === PAINT) lowest++;
    return [memory.buffer.byteLength, memory.buffer.byteLength, STACK_BYTES - lowest];
  },
};

process.stdout.write("ok ready\n");
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...rest] = line.split(" ");
  if (name === "quit") break;
  try {
    if (!(name in commands)) throw new Refused("unknown command");
    process.stdout.write(`${["ok", ...commands[name](...rest)].join(" ")}\n`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    process.stdout.write(`error ${error.message}\n`);
  }
}
