// Bodies for the eye: JSON set out line by line without touching a digit, and two texts side by side as what went and what came.

/** JSON set out by its own letters: numbers stay as they were written. `null` where it is no JSON. */
export function pretty(text) {
	try {
		JSON.parse(text);
	} catch {
		return null;
	}
	const out = [];
	let depth = 0;
	const line = () => `\n${'  '.repeat(depth)}`;
	for (const [piece] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/gs)) {
		if (piece === '{' || piece === '[') {
			depth += 1;
			out.push(piece, line());
		} else if (piece === '}' || piece === ']') {
			depth -= 1;
			if (/^\n *$/.test(out.at(-1) ?? '') && /^[[{]$/.test(out.at(-2) ?? '')) out.pop();
			else out.push(line());
			out.push(piece);
		} else if (piece === ',') out.push(',', line());
		else out.push(piece === ':' ? ': ' : piece);
	}
	return out.join('');
}

/** The text of JSON set out, any other as it is. */
export const readable = text => pretty(text) ?? text;

const CELLS_MAX = 4_000_000;

/** What changed from one text to the other, line by line. */
export function diff(before, after) {
	const [old, now] = [before.split('\n'), after.split('\n')];
	let from = 0;
	while (from < old.length && from < now.length && old[from] === now[from]) from += 1;
	let until = 0;
	while (until < old.length - from && until < now.length - from && old.at(-1 - until) === now.at(-1 - until)) until += 1;
	const [a, b] = [old.slice(from, old.length - until), now.slice(from, now.length - until)];
	const of = kind => text => ({kind, text});
	return [...old.slice(0, from).map(of('same')), ...changed(a, b), ...old.slice(old.length - until).map(of('same'))];
}

/** The longest common lines stay; what is too large to compare is all gone and all new. */
function changed(a, b) {
	const all = (lines, kind) => lines.map(text => ({kind, text}));
	if (a.length * b.length > CELLS_MAX || !a.length || !b.length) return [...all(a, 'gone'), ...all(b, 'new')];
	const wide = b.length + 1;
	const common = new Uint32Array((a.length + 1) * wide);
	for (let i = a.length - 1; i >= 0; i -= 1) {
		for (let j = b.length - 1; j >= 0; j -= 1) {
			common[i * wide + j] =
				a[i] === b[j] ? common[(i + 1) * wide + j + 1] + 1 : Math.max(common[(i + 1) * wide + j], common[i * wide + j + 1]);
		}
	}
	const lines = [];
	let [i, j] = [0, 0];
	while (i < a.length && j < b.length) {
		if (a[i] === b[j]) {
			lines.push({kind: 'same', text: a[i]});
			i += 1;
			j += 1;
		} else if (common[(i + 1) * wide + j] >= common[i * wide + j + 1]) lines.push({kind: 'gone', text: a[i++]});
		else lines.push({kind: 'new', text: b[j++]});
	}
	return [...lines, ...all(a.slice(i), 'gone'), ...all(b.slice(j), 'new')];
}

const AROUND = 3;

/** A difference without what stayed far from it; a gap is `{kind: 'gap', count}`. */
export function near(lines) {
	const kept = lines.map((_, at) => lines.slice(Math.max(0, at - AROUND), at + AROUND + 1).some(line => line.kind !== 'same'));
	const out = [];
	lines.forEach((line, at) => {
		if (kept[at]) out.push(line);
		else if (out.at(-1)?.kind === 'gap') out.at(-1).count += 1;
		else out.push({kind: 'gap', count: 1});
	});
	return out;
}

/** A word of a shell that stands for the text, whatever is in it. */
export const shellWord = text => `'${String(text).replaceAll("'", `'\\''`)}'`;

/** The call that hands the same message in again. The token stays a variable. */
export function curl(message, body, needsToken) {
	const header = (name, value) => (value ? ` \\\n  -H ${shellWord(`${name}: ${value}`)}` : '');
	const token = needsToken ? ' \\\n  -H "authorization: Bearer $GONIEC_TOKEN"' : '';
	const version = message.version === null || message.version === undefined ? '' : String(message.version);
	return (
		`curl -X POST ${shellWord(`${location.origin}/v1/send/${encodeURIComponent(message.destination)}`)}${token}${header('content-type', message.content_type)}` +
		`${header('goniec-key', message.key && encodeURIComponent(message.key))}${header('goniec-type', message.type && encodeURIComponent(message.type))}${header('goniec-version', version)} \\\n  --data-binary ${shellWord(body)}`
	);
}
