// The settings of this browser: language, colors, sound, desktop notifications; and the way out.

import { useState } from 'preact/hooks';
import { canNotify, ring, switchDesktop } from '../bell.js';
import { explain, t } from '../i18n.js';
import { change, settings } from '../settings.js';
import { user } from '../store.js';
import { Button, Dialog, html, Select, Switch } from '../ui.js';
import { languages } from './login.js';

export function Settings({ onClose, onSignOut }) {
  const [error, setError] = useState(null);
  const { language, theme, sound, desktop } = settings.value;
  const leave = async () => {
    try {
      await onSignOut();
      onClose();
    } catch (problem) {
      setError(problem);
    }
  };
  const setSound = (on) => {
    change({ sound: on });
    if (on) ring();
  };
  return html`<${Dialog} label=${t('settings.title')} onClose=${onClose}>
    <div class="settings">
      <${Select} label=${t('settings.language')} value=${language} options=${languages()} onChange=${(value) => change({ language: value })} />
      <${Select} label=${t('settings.theme')} value=${theme} onChange=${(value) => change({ theme: value })}
        options=${['auto', 'light', 'dark'].map((value) => [value, t(`settings.${value}`)])} />
      <${Switch} label=${t('settings.sound')} hint=${t('settings.sound.hint')} checked=${sound} onChange=${setSound} />
      <${Switch} label=${t('settings.desktop')} hint=${t(canNotify ? 'settings.desktop.hint' : 'settings.desktop.none')}
        checked=${desktop} disabled=${!canNotify} onChange=${switchDesktop} />
    </div>
    <footer class="account">
      <p><strong dir="auto">${user.value?.name || user.value?.email}</strong><span class="muted">${user.value?.email} · ${t(`role.${user.value?.role}`)}</span></p>
      <${Button} icon="out" label=${t('sign_out')} onClick=${leave} />
    </footer>
    <p class="error" role="alert">${error && t('sign_out.failed', { why: explain(error) })}</p>
  <//>`;
}
