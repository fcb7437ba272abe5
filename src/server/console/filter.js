// The filter language as far as a page needs it: words are split, put in quotes, set and taken away. The server alone judges them.

/** The words of a filter. */
export function split(text) {
	const words = text.match(/(?:[^\s"]|"[^"]*"?)+/g);
	return words ? [...words] : [];
}

/** A value as the language takes it. */
export const quoted = value => (/^[^\s"*]+$/.test(value) ? value : `"${value.replaceAll('"', '')}"`);

/** Whether a value can be said at all: the language has no way to write a double quote, or a star that means itself. */
export const sayable = value => !/["*\n\r]/.test(value);

/** The filter with this word set to the value, or without the word. */
export function set(text, name, value) {
	const rest = split(text).filter(word => !word.startsWith(`${name}:`));
	if (value) rest.unshift(`${name}:${value}`);
	return rest.join(' ');
}

/** The value of a word. */
export function valueOf(text, name) {
	const word = split(text).find(one => one.startsWith(`${name}:`));
	return word ? word.slice(name.length + 1).replaceAll('"', '') : null;
}

/** A link to the messages of a filter made of these words. */
export function link(words) {
	const filter = Object.entries(words)
		.filter(([, value]) => value)
		.map(([name, value]) => `${name}:${quoted(String(value))}`);
	return `#/messages?filter=${encodeURIComponent(filter.join(' '))}`;
}

/** The column that a refusal points at, from 1. */
export function columnOf(detail) {
	const found = /column (\d+)/.exec(detail);
	return found ? Number(found[1]) : null;
}
