// What is said to people: the words of a language, its plurals, and numbers, times, spans and sizes as it writes them.

/** In the order of `words.json`. */
export const LANGUAGES = ['en', 'pl'];

let language = 'en';
let messages = {};
let plurals = new Intl.PluralRules('en');
let numbers = new Intl.NumberFormat('en');

/** Loads a language. */
export async function speak(wanted) {
	const answer = await fetch('/console/words.json');
	if (!answer.ok) throw new Error(`no words: ${answer.status}`);
	const at = LANGUAGES.indexOf(wanted);
	messages = Object.fromEntries(Object.entries(await answer.json()).map(([key, all]) => [key, all[at]]));
	language = wanted;
	plurals = new Intl.PluralRules(wanted);
	numbers = new Intl.NumberFormat(wanted);
	document.documentElement.lang = wanted;
}

export const spoken = () => language;

/** The message of a key. `{name}` in it stands for a value; `n` chooses among plurals. */
export function t(key, values = {}) {
	const found = messages[key];
	if (found === undefined) return key;
	const text = typeof found === 'string' ? found : found[plurals.select(values.n ?? 0)];
	return text.replace(/\{(\w+)\}/g, (whole, name) => {
		const value = values[name];
		return typeof value === 'number' ? numbers.format(value) : value === undefined ? whole : String(value);
	});
}

/** The message of the key, or of `otherwise` where there is none: for words of the interface that may be new. */
export const known = (key, otherwise) => (key in messages ? t(key) : otherwise);

export const number = value => numbers.format(value);

/** A number beside an icon or in a chart: 1.2K. */
export const brief = value =>
	value < 10_000 ? number(value) : new Intl.NumberFormat(language, {notation: 'compact', maximumFractionDigits: 1}).format(value);

/** Bytes as people read them. */
export function size(bytes) {
	if (bytes === null || bytes === undefined) return '–';
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
	let step = 0;
	let value = bytes;
	for (; value >= 1024 && step < units.length - 1; step += 1) value /= 1024;
	return `${new Intl.NumberFormat(language, {maximumFractionDigits: step ? 1 : 0}).format(value)} ${units[step]}`;
}

const STEPS = [
	['d', 86_400_000],
	['h', 3_600_000],
	['min', 60_000],
	['s', 1_000],
];

/** A span with its two largest units: `2 h 5 min`. */
export function span(ms) {
	const all = Math.max(0, Math.round(ms));
	if (all < 1_000) return `${number(all)} ms`;
	if (all < 10_000) return `${new Intl.NumberFormat(language, {maximumFractionDigits: 1}).format(all / 1_000)} s`;
	let rest = Math.round(all / 1_000) * 1_000;
	const parts = [];
	for (const [name, unit] of STEPS) {
		const count = Math.floor(rest / unit);
		if (count) parts.push(`${number(count)} ${name === 'd' ? t('unit.d') : name}`);
		else if (parts.length) break;
		if (parts.length === 2) break;
		rest -= count * unit;
	}
	return parts.join(' ');
}

/** How long ago, or how long ahead. */
export function ago(at) {
	const ms = Date.parse(at) - Date.now();
	if (Number.isNaN(ms)) return String(at);
	if (Math.abs(ms) < 1_500) return t('time.now');
	return ms < 0 ? t('time.ago', {span: span(-ms)}) : t('time.in', {span: span(ms)});
}

/** A time of day, with its date where that is not today. */
export function clock(at) {
	const date = new Date(at);
	if (Number.isNaN(date.getTime())) return String(at);
	const isToday = date.toDateString() === new Date().toDateString();
	const day = isToday ? {} : {month: 'short', day: 'numeric'};
	return new Intl.DateTimeFormat(language, {...day, hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23'}).format(date);
}

/** A time to the millisecond, with its zone. */
export function exactly(at) {
	const date = new Date(at);
	if (Number.isNaN(date.getTime())) return String(at);
	return new Intl.DateTimeFormat(language, {
		year: 'numeric',
		month: '2-digit',
		day: '2-digit',
		hour: '2-digit',
		minute: '2-digit',
		second: '2-digit',
		fractionalSecondDigits: 3,
		hourCycle: 'h23',
		timeZoneName: 'short',
	}).format(date);
}
