// The entry of Clipper's DevTools: the shell of upstream's js_app with the
// Network panel alone. js_app is the page for Node.js targets, which asks the
// least of a backend.

import 'devtools/Images/Images.js';
import 'devtools/ui/dom_extension/dom_extension.js';
import 'devtools/entrypoints/main/main-meta.js';
import 'devtools/panels/settings/settings-meta.js';
import 'devtools/panels/common/common-meta.js';
import 'devtools/ui/legacy/components/perf_ui/perf_ui-meta.js';
import 'devtools/ui/legacy/components/quick_open/quick_open-meta.js';
import 'devtools/ui/legacy/components/source_frame/source_frame-meta.js';
import 'devtools/panels/sources/sources-meta.js';
import 'devtools/panels/mobile_throttling/mobile_throttling-meta.js';
import 'devtools/panels/network/network-meta.js';

import * as Common from 'devtools/core/common/common.js';
import * as SDK from 'devtools/core/sdk/sdk.js';
import * as Workspace from 'devtools/models/workspace/workspace.js';
import * as UI from 'devtools/ui/legacy/legacy.js';
import * as Main from 'devtools/entrypoints/main/main.js';

const unused = [
  'sources', 'sources.quick', 'sources.search-sources-tab', 'navigator-files', 'navigator-snippets', 'navigator-overrides',
  'navigator-content-scripts', 'sources.scope-chain', 'sources.watch', 'sources.js-breakpoints', 'sources.threads',
  'sources.xhr-breakpoints', 'sources.dom-breakpoints', 'sources.global-listeners', 'sources.event-listener-breakpoints',
  'sources.csp-violation-breakpoints', 'sources.object-event-listeners',
  'workspace', 'experiments', 'blackbox', 'devices',
];
for (const id of unused) {
  UI.ViewManager.maybeRemoveViewExtension(id);
}

// The link of an initiator leads to a process. Without the Sources panel its
// text is shown in a dialog.
const registry = Common.Revealer.RevealerRegistry.instance();
const reveal = registry.reveal.bind(registry);
registry.reveal = async (revealable: unknown, omitFocus: boolean): Promise<void> => {
  if (!(revealable instanceof Workspace.UISourceCode.UILocation) || !revealable.uiSourceCode.url().startsWith('process://')) {
    return await reveal(revealable, omitFocus);
  }
  const content = await revealable.uiSourceCode.requestContentData();
  showText('clipper-process', 'text' in content ? content.text : content.error ?? '');
};

// showText shows a text in a dialog.
function showText(id: string, value: string): void {
  const text = document.createElement('pre');
  text.className = id;
  text.style.cssText = 'margin: 0; padding: 16px 40px 16px 16px; user-select: text; white-space: pre-wrap; overflow: auto; max-height: 70vh; max-width: 80vw';
  text.textContent = value;
  const dialog = new UI.Dialog.Dialog(id);
  dialog.contentElement.appendChild(text);
  dialog.addCloseButton();
  dialog.setSizeBehavior(UI.GlassPane.SizeBehavior.MEASURE_CONTENT);
  dialog.show();
}

// For the views of upstream that show more than it does.
Object.assign(globalThis, {
  clipper: {
    showText: (id: string, answer: Promise<Response>) => void answer.then(r => r.text()).then(text => showText(id, text), error => showText(id, String(error))),
  },
});

// A gateway that went away (killed and started again) comes back on the same
// port with the whole history: reload as soon as it answers.
async function reloadWhenBack(): Promise<void> {
  document.title = 'Clipper (disconnected)';
  const notice = document.createElement('div');
  notice.className = 'clipper-disconnected';
  notice.textContent = 'The session has ended. What was loaded stays; the page comes back if the session does.';
  notice.style.cssText = 'position: fixed; bottom: 32px; right: 16px; z-index: 10000; padding: 8px 16px; border-radius: 8px; ' +
      'background: var(--sys-color-inverse-surface, #303030); color: var(--sys-color-inverse-on-surface, #f2f2f2)';
  document.body.append(notice);
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, 500));
    try {
      if ((await fetch('alive', {cache: 'no-store'})).ok) {
        location.reload();
        return;
      }
    } catch {
    }
  }
}

class Session implements Common.Runnable.Runnable {
  async run(): Promise<void> {
    // The panel is made before the target, so that it sees the history from
    // its first event.
    await UI.ViewManager.ViewManager.instance().showView('network');
    await SDK.Connections.initMainConnection(async () => {
      const target = SDK.TargetManager.TargetManager.instance().createTarget('main', 'Clipper', SDK.Target.Type.NODE, null);
      void target.runtimeAgent().invoke_runIfWaitingForDebugger();
    }, () => void reloadWhenBack());
  }
}

const session = new Session();
Common.Runnable.registerEarlyInitializationRunnable(() => session);
new Main.MainImpl.MainImpl();
