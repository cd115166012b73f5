// Seeds the frontend's settings, which are plain localStorage, before it loads,
// and only once, so that what the user changes stays. All sessions of one port
// share an origin and so their settings.
(() => {
  'use strict';
  const version = '1';
  try {
    if (localStorage.getItem('clipper-settings') === version) {
      return;
    }
    const shown = ['name', 'method', 'status', 'protocol', 'domain', 'remote-address', 'type', 'initiator', 'size', 'time', 'waterfall'];
    localStorage.setItem('network-log-columns', JSON.stringify(Object.fromEntries(shown.map(id => [id, {visible: true}]))));
    localStorage.setItem('panel-selected-tab', JSON.stringify('network'));
    localStorage.setItem('clipper-settings', version);
  } catch {
    // Storage is off: the frontend has its own defaults.
  }
})();
