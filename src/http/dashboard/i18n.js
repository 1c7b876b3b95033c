// English and French: the browser chooses, the user may switch.

import { computed, effect } from '@preact/signals';
import { Unreachable } from './api.js';
import { settings } from './settings.js';
import { en } from './words/en.js';
import { fr } from './words/fr.js';

const WORDS = { en, fr };

/** The language of the page, as a two-letter code. */
export const language = computed(() => {
  const chosen = settings.value.language;
  const wanted = chosen === 'auto' ? navigator.languages.map((tag) => tag.slice(0, 2)) : [chosen];
  return wanted.find((code) => code in WORDS) ?? 'en';
});

/** The reader's own variety of that language decides between 9:00 am and 09:00. */
export const locale = computed(() =>
  navigator.languages.find((tag) => tag.startsWith(language.value)) ?? (language.value === 'en' ? 'en-GB' : 'fr-FR'));

const plurals = computed(() => new Intl.PluralRules(language.value));
const numbers = computed(() => new Intl.NumberFormat(locale.value));

effect(() => { document.documentElement.lang = language.value; });

/**
 * The text for a key, with `{name}` filled in; the result is text, never markup.
 * A text that depends on a number is an object by plural form, and `n` chooses.
 */
export function t(key, values = {}) {
  let text = WORDS[language.value][key] ?? en[key] ?? key;
  if (typeof text === 'object') text = text[plurals.value.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return typeof value === 'number' ? numbers.value.format(value) : value ?? whole;
  });
}

/** The word for one of the API's values (`status.won`); the value itself when there is none. */
export function word(kind, value) {
  const key = `${kind}.${value}`;
  return WORDS[language.value][key] ?? value;
}

/** What went wrong, for a person: by the problem's stable `code` where there are words for it, else its `detail`. */
export function explain(error) {
  if (error instanceof Unreachable) return t('error.unreachable');
  const key = `error.${error.code}`;
  if (error.code && key in en) return t(key);
  return error.message;
}
