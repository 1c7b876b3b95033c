// Which prospects a list shows and in what order: the API's rules, so that an arriving event finds its place.

/** The statuses of a prospect, in the order in which a sale goes. */
export const PROSPECT_STATUSES = ['new', 'contacted', 'qualified', 'won', 'lost'];

/** The query of `GET /api/prospects` for a filter. */
export function prospectQuery({ search, status, source, ownerId, sort }) {
  const query = new URLSearchParams({ sort });
  for (const [name, value] of Object.entries({ search: search.trim(), status, source, ownerId })) {
    if (value) query.set(name, value);
  }
  return query;
}

/** Whether the list for this filter has this prospect. */
export function prospectTest({ search, status, source, ownerId }) {
  const key = searchKey(search.trim());
  return (prospect) => (!status || prospect.status === status)
    && (!source || prospect.source === source)
    && (!ownerId || prospect.ownerId === (ownerId === 'none' ? null : ownerId))
    && (!key || searchText(prospect).includes(key));
}

/** Letters that Unicode does not take apart, and how they are spelled without: those of the API. */
const PLAIN = {
  ß: 'ss', æ: 'ae', œ: 'oe', ø: 'o', đ: 'd', ð: 'd', ħ: 'h', ı: 'i', ł: 'l', ŋ: 'n', ŧ: 't', þ: 'th',
  ə: 'e', ɓ: 'b', ɖ: 'd', ɗ: 'd', ɛ: 'e', ɔ: 'o', ƙ: 'k', ɲ: 'n', ƴ: 'y', ς: 'σ',
};
const MARKED = new RegExp(`[${Object.keys(PLAIN).join('')}]`, 'g');

/** Lower case, without accents, in plain letters: the form in which the API compares text. */
export function searchKey(text) {
  const unmarked = text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  return unmarked.replace(MARKED, (letter) => PLAIN[letter]);
}

function searchText({ firstname, lastname, email, phone, company }) {
  return searchKey([nameOf({ firstname, lastname }), email, phone ?? '', company ?? ''].join('\n'));
}

function nameOf({ firstname, lastname }) {
  return [firstname, lastname].filter(Boolean).join(' ');
}

/** How the API orders each list, down to the id, so that the order is the same everywhere. */
const KEYS = {
  createdAt: (record) => record.createdAt,
  updatedAt: (record) => record.updatedAt,
  startTime: (record) => record.startTime ?? '',
  receivedAt: (record) => record.receivedAt,
  name: (record) => searchKey(nameOf(record)),
};

/** The order that a `sort` parameter names, as a comparison of two records. */
export function comparison(sort, idOf) {
  const descending = sort.startsWith('-');
  const key = KEYS[sort.replace('-', '')];
  const sign = descending ? -1 : 1;
  return (a, b) => sign * (compare(key(a), key(b)) || compare(idOf(a), idOf(b)));
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
