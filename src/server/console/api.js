// The calls of the server. What it refuses arrives as a `Problem`, with what to do about it.

/** A refusal. */
export class Problem extends Error {
	constructor(status, said = {}) {
		super(said.detail || said.title || `${status}`);
		this.status = status;
		this.type = String(said.type ?? '').replace('urn:goniec:problem:', '');
		this.title = said.title ?? '';
		this.detail = said.detail ?? '';
		this.hint = said.hint ?? '';
	}

	/** Whether this node has no such call at all. */
	get isMissing() {
		return this.type === 'no-route';
	}
}

const PATIENCE_MS = 30_000;

/** more: a body that is no text is sent as JSON */
async function call(method, path, {body, headers = {}, signal} = {}) {
	const sent = {...headers};
	// Only a page of this server can send this: it shows that the change was meant.
	if (method !== 'GET') sent['goniec-console'] = '1';
	if (body !== undefined && typeof body !== 'string' && !(body instanceof Blob)) {
		sent['content-type'] = 'application/json';
		body = JSON.stringify(body);
	}
	// What counts before it begins, and what waits for a mail server, may take longer; asked twice it would be done twice.
	const limit = AbortSignal.timeout(method === 'POST' ? 10 * PATIENCE_MS : PATIENCE_MS);
	let answer;
	try {
		answer = await fetch(path, {
			method,
			body,
			headers: sent,
			cache: 'no-store',
			credentials: 'same-origin',
			signal: signal ? AbortSignal.any([signal, limit]) : limit,
		});
	} catch (error) {
		if (signal?.aborted) throw error;
		throw new Problem(0, {type: 'unreachable', detail: error instanceof Error ? error.message : ''});
	}
	if (answer.ok) return answer;
	const said = await answer.json().catch(() => ({}));
	const problem = new Problem(answer.status, said);
	if (answer.status === 401 && path !== '/v1/login') dispatchEvent(new Event('goniec-login'));
	throw problem;
}

export const get = async (path, signal) => (await call('GET', path, {signal})).json();

/** Reads what may be missing here: `null` where this node has no such call. */
export async function maybe(path, signal) {
	const [call] = path.split('?');
	if (missing.has(call)) return null;
	try {
		return await get(path, signal);
	} catch (error) {
		if (!(error instanceof Problem && error.isMissing)) throw error;
		missing.add(call);
		return null;
	}
}

const missing = new Set();

/** Changes something; answers with JSON where there is any. */
export async function change(method, path, more) {
	const answer = await call(method, path, more);
	return answer.status === 204 ? null : answer.json();
}

/** A query of what is set. */
export function query(values) {
	const set = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '');
	return set.length ? `?${set.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}` : '';
}

/** A piece of a path. */
export const piece = encodeURIComponent;

/** Who asks and what they may do; filled by `whoami`. */
export const me = {name: null, role: null, needs_login: false, rights: [], version: ''};

export async function whoami() {
	return Object.assign(me, await get('/v1/me'));
}

/** Whether the caller may do this. */
export const may = right => me.rights.includes(right);
