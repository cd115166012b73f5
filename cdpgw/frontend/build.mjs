// Builds frontend.zip from the pinned chrome-devtools-frontend of npm:
//
//   npm install --ignore-scripts && npm run build
//
// The zip is committed, so that Go alone builds Clipper. The same versions give
// the same bytes.
import {build} from 'esbuild';
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

const here = import.meta.dirname;
const upstream = path.join(here, 'node_modules/chrome-devtools-frontend');
const front = path.join(upstream, 'front_end');

// typescript finds the source of an import that names its compiled form.
function typescript(file) {
  if (fs.existsSync(file)) {
    return file;
  }
  for (const ext of ['.ts', '.tsx']) {
    const source = file.replace(/\.js$/, ext);
    if (source !== file && fs.existsSync(source)) {
      return source;
    }
  }
  return null;
}

// Upstream's own build makes these; here they are made in the same spirit.
const generated = {
  // One CSS variable for each image.
  'Images/Images.js': () => {
    const variables = [];
    for (const [dir, types] of [['Images/src', /\.svg$/], ['Images', /\.(png|avif)$/]]) {
      for (const f of fs.readdirSync(path.join(front, dir)).sort()) {
        if (types.test(f)) {
          variables.push(`--image-file-${f.replace(types, '')}:url(./Images/${f});`);
        }
      }
    }
    return `const style = document.createElement('style');
      style.textContent = ${JSON.stringify(`:root{${variables.join('')}}`)};
      document.head.appendChild(style);`;
  },
  'core/i18n/locales.js': () => `export const LOCALES = ['en-US'];
    export const BUNDLED_LOCALES = ['en-US'];
    export const DEFAULT_LOCALE = 'en-US';
    export const REMOTE_FETCH_PATTERN = '';
    export const LOCAL_FETCH_PATTERN = './locales/@LOCALE@.json';`,
};

// What upstream generates and the Network panel never runs (skills of the AI
// assistance): an empty module.
const stub = `export default {};
  export const skill = {name: '', description: '', instructions: '', allowedTools: []};`;

// The page of a recording says so in its address.
const recorded = "new URLSearchParams(location.search).has('recorded')";

// What has to differ for programs that are no browsers: file, before, after.
const patches = [
  // The bytes that came before a failure are worth seeing.
  ['panels/network/RequestResponseView.ts', 'input.request.statusCode === 204 || input.request.failed',
    'input.request.statusCode === 204 || (input.request.failed && !(input.request.resourceSize > 0))'],
  // The answer for a connection without exchange is a text that says why.
  ['panels/network/RequestResponseView.ts', '  if (TextUtils.StreamingContentData.isError(input.contentData)) {\n    // clang-format off',
    `  if (TextUtils.StreamingContentData.isError(input.contentData) && input.request.failed && !(input.request.responseReceivedTime > 0)) {
    widgetTemplate = html\`<div style="padding: 16px; overflow: auto; white-space: pre-wrap; font-family: monospace; user-select: text"
        >\${(input.contentData as {error: string}).error}</div>\`;
  } else if (TextUtils.StreamingContentData.isError(input.contentData)) {
    // clang-format off`],
  // What a native program's developer asks of a connection, instead of the
  // referrer policy of a page.
  ['panels/network/RequestHeadersView.ts', /\$\{input\.request\.referrerPolicy\(\)\?[\s\S]*?Lit\.nothing\}/, '${connectionRows(input)}'],
  ['panels/network/RequestHeadersView.ts', /$/, `
declare const clipper: {showText(id: string, answer: Promise<Response>): void};
function connectionRows(input: ViewInput): Lit.LitTemplate {
  const request = input.request, tls = request.securityDetails();
  const rows: string[][] = [];
  const day = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 10);
  if (request.failed && request.localizedFailDescription) {
    rows.push(['Failure', request.localizedFailDescription, 'failure']);
  }
  if (request.responseReceivedTime > 0 && Number(request.connectionId) > 0) {
    rows.push(['Connection', request.connectionId + (request.connectionReused ? ', reused' : ', opened for this request'), 'connection']);
  }
  if (tls) {
    rows.push(['TLS', [tls.protocol, tls.keyExchangeGroup || tls.keyExchange, tls.cipher, tls.mac].filter(Boolean).join(', '), 'tls']);
    if (tls.issuer) {
      const show = (): void => clipper.showText('clipper-certificates', fetch('certificates?origin=' + encodeURIComponent(request.parsedURL.securityOrigin())));
      rows.push(['Certificate', html\`\${tls.subjectName + ', issued by ' + tls.issuer + ', valid from ' + day(tls.validFrom) + ' to ' + day(tls.validTo)}
          <button class="devtools-link" style="border: none; background: none; padding: 0; font: inherit" @click=\${show}>Show the chain</button>\` as unknown as string, 'certificate']);
      rows.push(['Certificate names', tls.sanList.join(', '), 'certificate-names']);
    }
  }
  return html\`\${rows.filter(row => row[1]).map(([name, value, id]) => renderGeneralRow(input, name as Common.UIString.LocalizedString, value, id))}\`;
}
`],
  // gRPC messages come as event stream messages.
  ['core/sdk/NetworkRequest.ts', 'this.#serverSentEvents?.onProtocolEventSourceMessageReceived(',
    '(this.#serverSentEvents ??= new ServerSentEvents(this, false)).onProtocolEventSourceMessageReceived('],
  ['panels/network/NetworkItemView.ts', '} else if (request.mimeType === Platform.MimeType.MimeType.EVENTSTREAM) {',
    '} else if (request.mimeType === Platform.MimeType.MimeType.EVENTSTREAM || request.eventSourceMessages().length > 0) {'],
  ['panels/network/NetworkItemView.ts', 'UIRequestTabs.EVENT_SOURCE, i18nString(UIStrings.eventstream),',
    'UIRequestTabs.EVENT_SOURCE, request.mimeType === Platform.MimeType.MimeType.EVENTSTREAM ? i18nString(UIStrings.eventstream) : i18nString(UIStrings.messages),'],
  // Native programs talk to ports.
  ['core/sdk/NetworkRequest.ts', 'this.#name = this.#parsedURL.host;', `this.#name = this.#parsedURL.host + (this.#parsedURL.port ? ':' + this.#parsedURL.port : '');`],
  // A process has no lines.
  ['models/workspace/UISourceCode.ts', 'const lineAndColumnText = this.lineAndColumnText(showColumnNumber);',
    `const lineAndColumnText = this.uiSourceCode.url().startsWith('process://') ? undefined : this.lineAndColumnText(showColumnNumber);`],
  // What the Sources panel adds to menus needs its views, which are not here.
  ['panels/sources/sources-meta.ts', /UI\.ContextMenu\.registerProvider\(/g, 'void ('],
  // The reasons of failures need room.
  ['panels/network/NetworkLogViewColumns.ts', /(id: 'status',[\s\S]*?)(\n {4}sortingFunction)/, '$1\n    weight: 12,$2'],
  // The overview draws every request for every one that comes: with many, not
  // at every chance.
  ['panels/network/NetworkOverview.ts', '  override update(): void {', `  override update(): void {
    const self = this as unknown as {drawn: number|undefined, later: number|undefined};
    const now = performance.now();
    if (this.requestsList.length >= 500 && now - (self.drawn ?? 0) < 500) {
      self.later ??= window.setTimeout(() => {
        self.later = undefined;
        this.update();
      }, 500);
      return;
    }
    self.drawn = now;`],
  // A refresh of many rows takes long, and a history brings many rows at once:
  // the list rests for ten times as long as its last refresh took.
  ['panels/network/NetworkLogView.ts', "      void RenderCoordinator.write('NetworkLogView.render', this.refresh.bind(this));", `      const self = this as unknown as {restsUntil: number|undefined};
      const render = (): void => void RenderCoordinator.write('NetworkLogView.render', () => {
        const begun = performance.now();
        this.refresh();
        const done = performance.now();
        self.restsUntil = done + 10 * (done - begun);
      });
      const rest = (self.restsUntil ?? 0) - performance.now();
      if (rest > 0) {
        window.setTimeout(render, rest);
      } else {
        render();
      }`],
  // Profiles without what upstream does to WebRTC alone: losing, queueing and
  // reordering packets.
  ['panels/mobile_throttling/ThrottlingSettingsTab.ts',
    /\n {4}element\.createChild\('div', 'conditions-list-separator'\);\n {4}element\.createChild\('div', 'conditions-list-text'\)\.textContent = percentText[\s\S]*?UIStrings\.off\);/, ''],
  ['panels/mobile_throttling/ThrottlingSettingsTab.ts', /\n {4}const packetLoss = editor[\s\S]*?conditions\.packetReordering = packetReordering;/, ''],
  ['panels/mobile_throttling/ThrottlingSettingsTab.ts', /\n {4}editor\.control\('packetLoss'\)[\s\S]*?packetReordering \?\? false;/, ''],
  ['panels/mobile_throttling/ThrottlingSettingsTab.ts', /\n {6}\{\n {8}name: 'packetLoss',[\s\S]*?packetReorderingValidator,\n {8}isOptional: false,\n {6}\},/, ''],
  ['panels/mobile_throttling/ThrottlingSettingsTab.ts', /\n {2}appendHeaderColumn\(element, i18nString\(UIStrings\.packet\w+\)\);/g, ''],
  // Settings of what is not here.
  ['panels/settings/SettingsScreen.ts', /\n {6}Common\.Settings\.SettingCategory\.(ELEMENTS|PERFORMANCE|MEMORY|CONSOLE|EXTENSIONS|PERSISTENCE|DEBUGGER|ACCOUNT),/g, ''],
  // There is no processor to slow down.
  ['panels/mobile_throttling/ThrottlingSettingsTab.ts', 'settingsContent.append(this.cpuThrottlingCard.element);', ''],
  // What is copied as cURL sends what was sent: bytes that are no text, too, and
  // HEAD does not wait for a body.
  ['panels/network/NetworkLogView.ts', "      data.push('--data-raw ' + escapeString(formData));\n", `      const body = platform === 'unix' ? await request.requestFormDataContentData() : null;
      if (body && !TextUtils.ContentData.ContentData.isError(body) && /[\\0\\uFFFD]/.test(formData)) {
        data.push("--data-binary @<(base64 -d <<< '" + body.base64 + "')");
      } else {
        data.push('--data-raw ' + escapeString(formData));
      }
`],
  ['panels/network/NetworkLogView.ts', "command.push('-X ' + escapeString(request.requestMethod));", `command.push(request.requestMethod === 'HEAD' ? '--head' : '-X ' + escapeString(request.requestMethod));`],
  // Sound and video, which a page would have played.
  ['ui/legacy/components/source_frame/PreviewFactory.ts', '    const contentData = await provider.requestContentData();', `    if (/^(audio|video)\\//.test(mimeType)) {
      return new MediaView(mimeType, provider);
    }

    const contentData = await provider.requestContentData();`],
  ['ui/legacy/components/source_frame/PreviewFactory.ts', /$/, `
class MediaView extends UI.Widget.VBox {
  constructor(mimeType: string, provider: TextUtils.ContentProvider.ContentProvider) {
    super();
    const player = document.createElement(mimeType.startsWith('audio/') ? 'audio' : 'video');
    player.controls = true;
    player.style.cssText = 'margin: auto; max-width: 100%; max-height: 100%';
    this.contentElement.append(player);
    void provider.requestContentData().then(content => {
      if (TextUtils.ContentData.ContentData.isError(content)) {
        new UI.EmptyWidget.EmptyWidget(i18nString(UIStrings.failedToLoadData), content.error).show(this.contentElement);
        return;
      }
      const bytes = Uint8Array.from(atob(content.base64), c => c.charCodeAt(0));
      player.src = URL.createObjectURL(new Blob([bytes], {type: mimeType}));
    });
  }
}
`],
  // A Set-Cookie header has its date as text.
  ['core/sdk/Cookie.ts', 'return this.#attributes.get(Attribute.EXPIRES) as number;', `const expires = this.#attributes.get(Attribute.EXPIRES);
    return typeof expires === 'string' ? Date.parse(expires) : expires as number;`],
  // What had no response waited for it, unless it is a connection or a look-up.
  ['models/network_time_calculator/RequestTimeRanges.ts', /const state =\s+request\.responseReceivedTime === -1 \? RequestTimeRangeNames\.CONNECTING : RequestTimeRangeNames\.RECEIVING;/,
    `const waited = ({TCP: RequestTimeRangeNames.CONNECTING, TLS: RequestTimeRangeNames.CONNECTING, UDP: RequestTimeRangeNames.CONNECTING,
      DNS: RequestTimeRangeNames.DNS} as Record<string, RequestTimeRangeNames>)[request.requestMethod] ?? RequestTimeRangeNames.WAITING;
    const state = request.responseReceivedTime === -1 ? waited : RequestTimeRangeNames.RECEIVING;`],
  // What a program that is no browser does not have: cache, overriding, sending
  // again.
  ['panels/network/NetworkPanel.ts', 'this.panelToolbar.appendToolbarItem(disableCacheCheckbox);', ''],
  ['panels/network/NetworkPanel.ts', 'this.panelToolbar.appendToolbarItem(networkConditionsButton);', ''],
  ['panels/network/NetworkLogView.ts', /\n {4}contextMenu\.overrideSection\(\)\.appendItem\(\s+i18nString\(UIStrings\.overrideHeaders\)[\s\S]*?\n {4}if \(request\) \{/,
    `\n    if (request && !${recorded}) {`],
  ['panels/network/NetworkLogView.ts', /SDK\.NetworkManager\.NetworkManager\.canResendRequest\(request, (true|false)\)/g, 'false'],
  // A recording can't be throttled.
  ['panels/network/NetworkPanel.ts', 'this.panelToolbar.appendToolbarItem(this.throttlingSelect);',
    `if (!${recorded}) {
      this.panelToolbar.appendToolbarItem(this.throttlingSelect);
    }`],
  // Connections are throttled and blocked, so hosts are.
  ['panels/network/NetworkLogView.ts', 'const urlPattern = urlPatternString &&', 'const urlPattern = false && urlPatternString &&'],
  ['panels/network/RequestConditionsDrawer.ts', '    const isValid = SDK.NetworkManager.RequestURLPattern.isValidPattern(value);', `    const part = parsedPattern?.pattern;
    if (part && (!['*', '/*'].includes(part.pathname) || !['*', ''].includes(part.search))) {
      return 'Clipper blocks and throttles connections: only whole hosts are possible, such as *://api.example.com' as Common.UIString.LocalizedString;
    }
    const isValid = SDK.NetworkManager.RequestURLPattern.isValidPattern(value);`],
  // A request-level latency is a multiple of the round trip's that it stands for;
  // here each round trip takes longer.
  ['core/sdk/NetworkManager.ts', /latency: (\w+TargetLatency) \* [\d.]+/g, 'latency: $1'],
  // A program's network changes by a click, and not by what was clicked in
  // another session.
  ['core/sdk/NetworkManager.ts', "createSetting('active-network-condition-key', PredefinedThrottlingConditionKey.NO_THROTTLING)",
    "createSetting('active-network-condition-key', PredefinedThrottlingConditionKey.NO_THROTTLING, Common.Settings.SettingStorageType.SESSION)"],
  ['core/sdk/SDKSettings.ts', /(name: 'request-blocking-enabled',[\s\S]*?SettingStorageType\.)LOCAL/, '$1SESSION'],
  // Firefox: it knows no typed attr(), and gives the room below the rows to the
  // filler above them as well.
  ['panels/network/RequestTimingView.ts', /data-left=\$\{([^}]*)\}\s+data-right=\$\{([^}]*)\}/g, 'style="left: ${$1}%; right: ${$2}%"'],
  ['panels/network/networkTimingTable.css', 'inset: 0 attr(data-right %) 0 attr(data-left %);', 'top: 0; bottom: 0;'],
  ['ui/legacy/components/data_grid/dataGrid.css', /$/,
    '@supports (-moz-appearance: none) { .data-grid tr.data-grid-filler-row[style*="auto"] { height: 100% !important; } }'],
];
const patched = new Set();

// source is a file of the frontend with its patches.
function source(file) {
  let contents = fs.readFileSync(file, 'utf8');
  for (const [name, before, after] of patches) {
    if (path.relative(front, file) === name) {
      const next = contents.replace(before, typeof before === 'string' ? () => after : after);
      if (next === contents) {
        throw new Error(`patch of ${name} does not apply`);
      }
      contents = next;
      patched.add(name);
    }
  }
  return contents;
}

const devtools = {
  name: 'devtools',
  setup(b) {
    b.onResolve({filter: /^devtools\//}, a => resolve(path.join(front, a.path.slice('devtools/'.length)), a));
    b.onResolve({filter: /^\.{1,2}\/.*\.js$/}, a => a.resolveDir ? resolve(path.resolve(a.resolveDir, a.path), a) : undefined);
    function resolve(file) {
      const name = path.relative(front, file);
      if (generated[name]) {
        return {path: name, namespace: 'generated'};
      }
      if (file.endsWith('.css.js')) {
        return {path: name.replace(/\.js$/, ''), namespace: 'css'};
      }
      const found = typescript(file);
      return found ? {path: found} : {path: name, namespace: 'missing'};
    }
    b.onLoad({filter: /.*/, namespace: 'generated'}, a => ({contents: generated[a.path](), loader: 'js'}));
    b.onLoad({filter: /.*/, namespace: 'css'}, a => {
      const css = source(path.join(front, a.path)).replace(/\/\*[\s\S]*?\*\//g, '');
      return {contents: `export default ${JSON.stringify(css)}`, loader: 'js'};
    });
    b.onLoad({filter: /.*/, namespace: 'missing'}, a => {
      if (!a.path.includes('ai_assistance')) {
        console.error(`missing: ${a.path}`);
      }
      return {contents: stub, loader: 'js'};
    });
    // Code marks of the message format (`HAR`) vanish when upstream bakes its
    // locale files; the messages in the sources are the English locale here.
    b.onLoad({filter: /\.ts$/}, a => {
      let contents = source(a.path);
      contents = contents.replace(/(const UIStrings\w* = \{)([\s\S]*?)(\n\} as const;)/g,
        (_, open, strings, close) => open + strings.replace(/\/\*[\s\S]*?\*\//g, '').replace(/'(?:[^'\\\n]|\\.)*'/g, s => s.replaceAll('`', '')) + close);
      return {contents, loader: 'ts'};
    });
  },
};

const result = await build({
  entryPoints: {
    clipper: path.join(here, 'clipper.ts'),
    'entrypoints/formatter_worker/formatter_worker-entrypoint':
      path.join(front, 'entrypoints/formatter_worker/formatter_worker-entrypoint.ts'),
  },
  bundle: true,
  splitting: true,
  format: 'esm',
  minify: true,
  legalComments: 'none',
  target: 'es2022',
  // The formatter worker is addressed two directories up from the chunks.
  chunkNames: 'chunks/c/[hash]',
  assetNames: 'assets/[name]-[hash]',
  outdir: here,
  write: false,
  metafile: true,
  plugins: [devtools],
  external: ['node:*'],
  loader: {'.svg': 'file', '.json': 'json', '.wasm': 'file'},
  supported: {'top-level-await': true},
  tsconfigRaw: {compilerOptions: {experimentalDecorators: true, useDefineForClassFields: false}},
  logLevel: 'error',
});

if (patched.size !== new Set(patches.map(p => p[0])).size) {
  throw new Error('a patched file is not in the bundle');
}
const files = new Map();
for (const f of result.outputFiles) {
  files.set(path.relative(here, f.path), Buffer.from(f.contents));
}
files.set('chunks/c/locales/en-US.json', Buffer.from('{}'));
files.set('locales/en-US.json', Buffer.from('{}'));
for (const f of ['clipper.html', 'settings.js']) {
  files.set(f, fs.readFileSync(path.join(here, f)));
}
for (const f of ['application_tokens.css', 'design_system_tokens.css']) {
  files.set(f, fs.readFileSync(path.join(front, f)));
}
// Only images that something refers to.
const text = [...files.values()].map(b => b.toString('utf8')).join('\n');
for (const dir of ['Images/src', 'Images']) {
  for (const f of fs.readdirSync(path.join(front, dir)).sort()) {
    const stem = f.replace(/\.\w+$/, '');
    if (/\.(svg|png|avif)$/.test(f) && mentioned(text, stem)) {
      files.set(`Images/${f}`, fs.readFileSync(path.join(front, dir, f)));
    }
  }
}
function mentioned(text, stem) {
  // Once in the list of all variables; anywhere else is a use.
  const quoted = stem.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return (text.match(new RegExp(`(?<![\\w-])(--image-file-)?${quoted}(?![\\w-])`, 'g')) ?? []).length > 2;
}
// The licences of everything in the bundle.
const parts = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const part = input.match(/front_end\/third_party\/(?:chromium\/)?[^/]+/);
  if (part && !part[0].includes('/chromium/')) { // which has upstream's own
    parts.add(part[0].slice('front_end/'.length));
  }
}
let licences = `chrome-devtools-frontend\n\n${fs.readFileSync(path.join(upstream, 'LICENSE'), 'utf8')}`;
for (const part of [...parts].sort()) {
  const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'package/LICENSE', 'package/LICENSE.md', 'COPYING']
    .map(f => path.join(front, part, f)).find(f => fs.existsSync(f));
  if (!file) {
    console.error(`no licence file: ${part}`);
    continue;
  }
  licences += `\n${'-'.repeat(80)}\n${part}\n\n${fs.readFileSync(file, 'utf8')}`;
}
files.set('LICENSES.txt', Buffer.from(licences));
fs.writeFileSync(path.join(here, 'LICENSES.txt'), licences);

const archive = zip(files);
fs.writeFileSync(path.join(here, 'frontend.zip'), archive);
const raw = [...files.values()].reduce((n, b) => n + b.length, 0);
console.log(`frontend.zip: ${files.size} files, ${raw} bytes, compressed ${archive.length}`);
if (process.env.META) {
  fs.writeFileSync(process.env.META, JSON.stringify(result.metafile));
}

// zip writes an archive (APPNOTE 6.3) with a fixed date.
function zip(files) {
  const locals = [], central = [];
  let offset = 0;
  for (const [name, data] of [...files].sort(([a], [b]) => a < b ? -1 : 1)) {
    const packed = zlib.deflateRawSync(data, {level: 9, memLevel: 9});
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);          // version needed
    common.writeUInt16LE(0x0800, 2);      // UTF-8 names
    common.writeUInt16LE(8, 4);           // deflate
    common.writeUInt16LE(0, 6);           // time
    common.writeUInt16LE(0x0021, 8);      // date: 1980-01-01
    common.writeUInt32LE(zlib.crc32(data), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, Buffer.from(name), packed]);
    const entry = Buffer.alloc(14);
    entry.writeUInt32LE(offset, 10);
    central.push(Buffer.concat([Buffer.from('PK\x01\x02'), Buffer.from([20, 3]), common, entry, Buffer.from(name)]));
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(central.length, 8);
  end.writeUInt16LE(central.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}
