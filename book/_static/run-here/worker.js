/* The cells of one page in Pyodide, apart from the page, so that nothing it does can make the page wait.
 *
 * In:  {start: {files, lock, scripts, base, packages, wheel, parameters, checks}}, {run: [{number, source}], fresh}
 * Out: {loading: bytes, of}, {ready}, {cell, kind, text}, {begin: cell}, {end: cell, error, seconds}, {done}, {failed: words}
 *
 * Nothing is fetched but files whose SHA-256 the book knows; the browser refuses what has another. */
"use strict";

let python = null;
let scope = null;
let pins = {};
let checks = {};
let loaded = 0;
let total = 0;
let trouble = null;                                      // Pyodide goes on without a package that it could not load

const say = (message) => postMessage(message);
const plainFetch = self.fetch.bind(self);

const integrity = (hex) => `sha256-${btoa(String.fromCharCode(...hex.match(/../g).map((byte) => parseInt(byte, 16))))}`;

/* Every file that Pyodide asks for comes through here. */
self.fetch = (request, options) => fetchPinned(request, options).catch((error) => { trouble = error; throw error; });

const fetchPinned = async (request, options = {}) => {
  const address = String(request.url || request);
  if (address.startsWith("blob:") || address.startsWith("data:")) return plainFetch(request, options);
  const name = decodeURIComponent(address.split("/").pop());
  const pin = pins[name];
  if (!pin) throw new Error(`${name} was asked for, and the book does not know its digest: it was not loaded.`);
  const sent = pin.packed || pin;                          // what travels: compressed where this site has it so
  const place = address + (pin.packed ? ".packed" : "");
  let answer;
  try {
    answer = await plainFetch(place, {integrity: integrity(sent.sha256), cache: "force-cache"});
  } catch (error) {
    // A refused digest and a missing network look the same: ask for the head of the file alone.
    const there = await plainFetch(place, {method: "HEAD", cache: "no-store"}).then((head) => head.ok, () => false);
    throw new Error(there ? `${name} has another SHA-256 than the one that the book knows: it was refused.`
      : `${name} could not be fetched from ${new URL(address, self.location.href).host}: is there a network?`);
  }
  if (!answer.ok) throw new Error(`${name} could not be fetched: the server answered ${answer.status}.`);
  loaded += sent.bytes;
  say({loading: loaded, of: total});
  if (!pin.packed) return answer;
  const type = name.endsWith(".wasm") ? "application/wasm" : "text/javascript";
  return new Response(answer.body.pipeThrough(new DecompressionStream("gzip")), {headers: {"Content-Type": type}});
};

const runScript = async (address) => {
  const text = await (await self.fetch(address)).text();
  const place = URL.createObjectURL(new Blob([text], {type: "text/javascript"}));
  importScripts(place);
  URL.revokeObjectURL(place);
};

const closure = (lock, names, found = new Set()) => {
  names.forEach((name) => {
    if (found.has(name) || !lock.packages[name]) return;
    found.add(name);
    closure(lock, lock.packages[name].depends, found);
  });
  return found;
};

const size = (name) => (pins[name].packed || pins[name]).bytes;

const start = async ({files, lock, scripts, base, packages, wheel, parameters, ...page}) => {
  pins = files;
  checks = page.checks;
  const needed = [...scripts, "pyodide.asm.wasm", "python_stdlib.zip",
    ...[...closure(lock, packages)].map((name) => lock.packages[name].file_name)];
  total = needed.reduce((sum, name) => sum + size(name), 0);
  for (const script of scripts) await runScript(base + script);
  const lockFileURL = URL.createObjectURL(new Blob([JSON.stringify(lock)], {type: "application/json"}));
  python = await loadPyodide({indexURL: base, lockFileURL});
  await load(packages);
  python.unpackArchive(wheel, "zip", {extractDir: python.runPython("import sysconfig; sysconfig.get_path('purelib')")});
  const press = python.pyimport("dlnutils.press.browser");
  press.prepare((kind, text) => say({cell: now, kind, text}), JSON.stringify(parameters));
  say({ready: true});
};

const load = async (packages) => {
  trouble = null;
  await python.loadPackage(packages, {messageCallback: () => {}, errorCallback: () => {}});
  if (trouble) throw trouble;
};

let now = 0;

const run = async (cells, fresh) => {
  const press = python.pyimport("dlnutils.press.browser");
  if (fresh || !scope) scope = python.toPy({__name__: "__main__"});
  for (const {number, source} of cells) {
    now = number;
    say({begin: number});
    const began = performance.now();
    const error = press.run_cell(source, number, scope, (kind, text) => say({cell: number, kind, text}));
    const lacking = /No module named '(\w+)|needs (\w+): pip/.exec(error);
    const name = lacking && (lacking[1] || lacking[2]);
    if (name && python._api.lockfile_packages[name] && !python.loadedPackages[name]) {
      say({also: name});
      total = loaded + [...closure({packages: python._api.lockfile_packages}, [name])]
        .reduce((sum, each) => sum + size(python._api.lockfile_packages[each].file_name), 0);
      await load([name]);
      say({again: true});                                  // the page begins anew: half a cell has run already
      return;
    }
    if (checks[number] && !error) {
      const {answer, expected, within} = checks[number];
      say({cell: number, kind: "check", text: press.judge(answer, python.toPy(expected), within, scope)});
    }
    say({end: number, error, seconds: (performance.now() - began) / 1000});
    if (error) break;
  }
  say({done: true});
};

self.onmessage = async ({data}) => {
  try {
    if (data.start) await start(data.start);
    if (data.run) await run(data.run, data.fresh);
  } catch (error) {
    const words = String(error.message || error);
    say({failed: /memory|allocat/i.test(words) ? `The browser has no more memory for this: ${words}` : words});
  }
};
