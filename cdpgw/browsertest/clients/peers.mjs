// Attaches independent clients to a gateway (argument: its port) and prints
// what they understood as one JSON object.
import CDP from 'chrome-remote-interface';
import {harFromMessages} from 'chrome-har';
import {chromium} from 'playwright-core';
import puppeteer from 'puppeteer-core';
import fs from 'node:fs';
import {createRequire} from 'node:module';

const port = Number(process.argv[2]);
const out = {};

// chrome-remote-interface: discovery, events, calls.
out.version = (await CDP.Version({port})).Browser;
out.targets = (await CDP.List({port})).map(t => t.type);
const client = await CDP({port, local: true, target: list => list[0]});
const messages = [];
let last;
client.on('event', m => {
  last = Date.now();
  messages.push({method: m.method, params: m.params});
});
await client.Debugger.enable();
await client.Runtime.enable();
await client.Network.enable();
while (!last || Date.now() - last < 1500) {
  await new Promise(resolve => setTimeout(resolve, 100));
}
out.events = messages.length;
out.body = (await client.Network.getResponseBody({requestId: '000000000000000a.1'})).body;
out.unknown = await client.Page.navigate({url: 'http://x'}).catch(e => e.message);
await client.close();

// Every event against the published protocol.
const require = createRequire(import.meta.url);
const domains = [...require('devtools-protocol/json/browser_protocol.json').domains, ...require('devtools-protocol/json/js_protocol.json').domains];
const types = {}, events = {};
for (const d of domains) {
  for (const t of d.types ?? []) {
    types[`${d.domain}.${t.id}`] = t;
  }
  for (const e of d.events ?? []) {
    events[`${d.domain}.${e.name}`] = {type: 'object', properties: e.parameters ?? []};
  }
}
const problems = new Set();
function check(v, t, domain, at) {
  if (t.$ref) {
    const name = t.$ref.includes('.') ? t.$ref : `${domain}.${t.$ref}`;
    return types[name] ? check(v, types[name], name.split('.')[0], at) : problems.add(`${at}: no type ${name}`);
  }
  if (t.enum && !t.enum.includes(v)) {
    problems.add(`${at}: ${JSON.stringify(v)} is not of the enumeration`);
  }
  const kind = Array.isArray(v) ? 'array' : v === null ? 'null' : typeof v;
  const want = {binary: 'string', integer: 'number', any: kind}[t.type] ?? t.type;
  if (kind !== want || (t.type === 'integer' && !Number.isInteger(v))) {
    problems.add(`${at}: ${kind} instead of ${t.type}`);
    return;
  }
  if (t.type === 'array') {
    v.forEach(x => check(x, t.items, domain, `${at}[]`));
  }
  if (t.type === 'object' && t.properties) {
    for (const p of t.properties) {
      if (v[p.name] !== undefined) {
        check(v[p.name], p, domain, `${at}.${p.name}`);
      } else if (!p.optional) {
        problems.add(`${at}.${p.name}: missing`);
      }
    }
    for (const name of t.properties.length ? Object.keys(v) : []) {
      if (!t.properties.some(p => p.name === name)) {
        problems.add(`${at}.${name}: unknown`);
      }
    }
  }
}
for (const m of messages) {
  if (!events[m.method]) {
    problems.add(`${m.method}: unknown`);
  } else {
    check(m.params, events[m.method], m.method.split('.')[0], m.method);
  }
}
out.problems = [...problems];
out.methods = [...new Set(messages.map(m => m.method))].sort();

// chrome-har: a HAR from the event stream. It wants a page and frames.
const forHar = [{method: 'Page.frameStartedLoading', params: {frameId: 'F'}}, ...structuredClone(messages)];
for (const m of forHar) {
  if (m.method === 'Network.requestWillBeSent') {
    m.params.frameId = 'F';
  }
}
out.har = harFromMessages(forHar).log.entries.map(e => ({
  method: e.request.method, url: e.request.url, status: e.response.status, version: e.response.httpVersion, ip: e.serverIPAddress,
  blocked: e.timings.blocked, connect: e.timings.connect, ssl: e.timings.ssl, send: e.timings.send, wait: e.timings.wait, receive: e.timings.receive,
  redirect: e.response.redirectURL,
}));

// Browser drivers connect; there are no pages here.
const within = (ms, promise) => Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error('timeout')), ms))]);
try {
  const b = await within(20000, puppeteer.connect({browserURL: `http://127.0.0.1:${port}`}));
  out.puppeteer = {version: await b.version(), pages: (await b.pages()).length};
  await b.disconnect();
} catch (e) {
  out.puppeteer = String(e);
}
try {
  const b = await within(20000, chromium.connectOverCDP(`http://127.0.0.1:${port}`));
  out.playwright = {contexts: b.contexts().length};
  await b.close();
} catch (e) {
  out.playwright = String(e).slice(0, 300);
}
fs.writeFileSync(process.argv[3] ?? '/dev/stdout', JSON.stringify(out, null, 1));
process.exit(0);
