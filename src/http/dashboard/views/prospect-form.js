// The form of a prospect, new or known. Two people at once: whoever saves second sees both versions and chooses.

import { useState } from 'preact/hooks';
import { PROSPECT_STATUSES } from '../filter.js';
import { focusOnce, usePartOf } from '../focus.js';
import { collator, fullName } from '../format.js';
import { explain, t, word } from '../i18n.js';
import { userName, users } from '../people.js';
import { href, isAdmin } from '../store.js';
import { Button, html } from '../ui.js';

const TEXTS = [['firstname', 'given-name'], ['lastname', 'family-name'], ['email', 'email'], ['phone', 'tel'], ['company', 'organization'], ['timezone', 'off']];
const FIELDS = [...TEXTS.map(([name]) => name), 'status', 'notes', 'ownerId'];

/**
 * @param {{record: object|null, etag?: string, current?: object, readAgain?: () => Promise<{record: object, etag: string}>,
 *   onSave: (fields: object, etag?: string) => Promise<void>, onCancel: () => void}} props
 *   `record` is what was read with `etag`, null for a new one; `current` what it is by now.
 */
export function ProspectForm({ record, etag, current, readAgain, onSave, onCancel }) {
  const form = usePartOf('.panel');
  const [base, setBase] = useState({ record, etag });
  const [clash, setClash] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);

  async function save(fields, tag) {
    setBusy(true);
    setError(null);
    try {
      await onSave(fields, tag);
    } catch (problem) {
      setBusy(false);
      if (problem.status !== 412 || !readAgain) return setError(problem);
      try {
        const theirs = await readAgain();
        setClash({ mine: values(form.current), theirs: theirs.record, etag: theirs.etag });
      } catch (again) {
        setError(again);
      }
    }
    return undefined;
  }

  const submit = (event) => {
    event.preventDefault();
    if (busy) return;
    const fields = base.record ? changes(base.record, values(form.current)) : given(values(form.current));
    if (base.record && Object.keys(fields).length === 0) onCancel();
    else save(fields, base.etag);
  };
  const leave = (event) => {
    if (event.key !== 'Escape') return;
    event.stopPropagation();
    event.preventDefault();
    onCancel();
  };
  const resolve = (fields) => {
    setBase({ record: clash.theirs, etag: clash.etag });
    for (const [name, value] of Object.entries({ ...clash.theirs, ...fields })) {
      if (form.current.elements[name]) form.current.elements[name].value = value ?? '';
    }
    setClash(null);
    if (Object.keys(fields).length === 0) onCancel();
    else save(fields, clash.etag);
  };
  const changedMeanwhile = base.record && current && current.updatedAt > base.record.updatedAt && !clash;
  return html`<form class="panel-body form" ref=${form} onSubmit=${submit} onKeyDown=${leave} data-testid="prospect-form" autocomplete="off">
    ${changedMeanwhile && html`<p class="notice" role="status">${t('conflict.coming')}</p>`}
    ${clash && html`<${Conflict} base=${base.record} clash=${clash} onResolve=${resolve} onCancel=${onCancel} />`}
    <fieldset disabled=${Boolean(clash)} hidden=${Boolean(clash)}><legend class="sr">${t('prospect')}</legend>
      ${TEXTS.map(([name], i) => html`<${Field} key=${name} name=${name} value=${record?.[name] ?? ''} first=${i === 0} problem=${problemOf(error, name)} />`)}
      <label class="field"><span>${t('field.status')}</span><select name="status">${PROSPECT_STATUSES.map((status) => html`<option key=${status} value=${status} selected=${(record?.status ?? 'new') === status}>${word('status', status)}</option>`)}</select></label>
      ${isAdmin.value && html`<${Owner} value=${record?.ownerId ?? ''} />`}
      <label class="field wide"><span>${t('field.notes')}</span><textarea name="notes" rows="5" maxLength="20000" defaultValue=${record?.notes ?? ''}></textarea></label>
      <${Failure} error=${error} />
      <div class="actions wide"><button class="button primary" type="submit" aria-disabled=${busy ? 'true' : null}>${t('save')}</button><${Button} label=${t('cancel')} kind="quiet" onClick=${onCancel} /></div>
    </fieldset></form>`;
}

function Field({ name, value, first, problem }) {
  return html`<label class="field"><span>${t(`field.${name}`)}</span>
    <input name=${name} type=${name === 'email' ? 'email' : name === 'phone' ? 'tel' : 'text'} required=${name === 'email'} maxLength=${name === 'timezone' ? 64 : 200}
      defaultValue=${value} placeholder=${name === 'timezone' ? 'Europe/Paris' : null} spellcheck=${false} ref=${first ? focusOnce : null} aria-invalid=${String(Boolean(problem))} />
    ${problem && html`<small class="error">${problem}</small>`}</label>`;
}

/** Whoever owns the record is among the choices, known or not: to save a form must not take it away. */
function Owner({ value }) {
  const unknown = value && !users.value.some(({ id }) => id === value);
  const choices = unknown ? [...users.value, { id: value, name: ownerName(value) }] : [...users.value];
  const sorted = choices.sort((a, b) => collator.value.compare(a.name, b.name));
  return html`<label class="field"><span>${t('field.owner')}</span><select name="ownerId"><option value="">${t('unassigned')}</option>
    ${sorted.map(({ id, name, email }) => html`<option key=${id} value=${id} selected=${id === value}>${name || email}</option>`)}</select></label>`;
}

function Failure({ error }) {
  if (!error) return html`<p class="error wide" role="alert"></p>`;
  const { existingId } = error.problem ?? {};
  return html`<p class="error wide" role="alert">${explain(error)} ${existingId && html`<a href=${href('prospects', existingId)}>${t('prospect.existing')}</a>`}</p>`;
}

function problemOf(error, name) {
  return error?.fields?.find((one) => one.field === name)?.message;
}

/** Both versions side by side, for each field that differs; what only they changed is taken unless one says otherwise. */
function Conflict({ base, clash, onResolve, onCancel }) {
  const { mine, theirs } = clash;
  const differing = FIELDS.filter((name) => name in mine && same(mine[name]) !== same(theirs[name]));
  const [choices, setChoices] = useState(() => Object.fromEntries(differing.map((name) => [name, same(mine[name]) !== same(base[name]) ? 'mine' : 'theirs'])));
  const resolve = () => onResolve(Object.fromEntries(differing.filter((name) => choices[name] === 'mine').map((name) => [name, mine[name]])));
  const option = (name, who, value) => html`<label class="version"><input type="radio" name=${`keep-${name}`} value=${who} checked=${choices[name] === who}
    onChange=${() => setChoices({ ...choices, [name]: who })} /><span><small>${t(`conflict.${who}`)}</small><span dir="auto">${shown(name, value) || t('nothing')}</span></span></label>`;
  return html`<section class="conflict" role="alert" data-testid="conflict"><h3 ref=${focusOnce} tabIndex="-1">${t('conflict.title')}</h3><p>${t('conflict.long', { name: fullName(theirs) })}</p>
    ${differing.map((name) => html`<fieldset key=${name}><legend>${t(name === 'ownerId' ? 'field.owner' : `field.${name}`)}</legend>${option(name, 'mine', mine[name])}${option(name, 'theirs', theirs[name])}</fieldset>`)}
    <div class="actions"><${Button} kind="primary" label=${t('conflict.save')} onClick=${resolve} data-action="resolve" /><${Button} kind="quiet" label=${t('cancel')} onClick=${onCancel} /></div></section>`;
}

function shown(name, value) {
  if (name === 'status') return word('status', value);
  if (name === 'ownerId') return value ? ownerName(value) : t('unassigned');
  return value;
}

function ownerName(id) {
  return userName(id) || t('owner.unknown');
}

/** What the form says, in the API's terms: an empty text is null. */
function values(form) {
  const fields = {};
  for (const name of FIELDS) {
    const input = form.elements[name];
    if (input) fields[name] = input.value.trim() || null;
  }
  return fields;
}

function changes(record, wanted) {
  return Object.fromEntries(Object.entries(wanted).filter(([name, value]) => same(value) !== same(record[name])));
}

/** For a new record: only what was filled in. An owner that is left open is the API's to choose. */
function given(wanted) {
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== null));
}

/** A browser's text area turns line ends into its own. */
function same(value) {
  return (value ?? '').replace(/\r\n?/g, '\n').trim();
}
