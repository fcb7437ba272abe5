// Why a message stands where it stands, in a sentence. The interface speaks in words of its own; here they become those of people.

import {clock, known, span, t} from './words.js';

export function why(message, last) {
	const values = {destination: message.destination, attempts: message.attempts, n: message.attempts};
	const failed = failure(message, last);
	switch (message.state) {
		case 'queued':
			return waits(message) ?? t('why.queued', values);
		case 'sending':
			return t('why.sending', {...values, attempts: message.attempts + 1});
		case 'delivered':
			return t('why.delivered', {...values, at: clock(message.updated_at)});
		case 'failed':
			return [failed, waits(message) ?? t('why.soon')].filter(Boolean).join(' ');
		case 'abandoned':
			return [known(`why.${message.reason}`, message.reason ?? ''), ['exhausted', 'rejected', 'expired'].includes(message.reason) && failed]
				.filter(Boolean)
				.join(' ');
		default:
			return message.state;
	}
}

/** What the last attempt came to. */
function failure(message, last) {
	const kind = last?.class ?? message.last_class;
	if (!kind) return '';
	const status = last?.status ?? message.last_status;
	const said = known(`class.${kind}`, kind);
	return t(status ? 'why.failed.status' : 'why.failed', {said, status: String(status ?? '')});
}

/** What a message waits for, or `null` where it waits for nothing that can be said. */
export function waits(message) {
	const due = message.due_at ? Date.parse(message.due_at) - Date.now() : null;
	if (message.waits_for === 'due' || message.waits_for === 'not-before' || (!message.waits_for && due !== null)) {
		if (due === null) return held(message);
		return due > 1_000 ? t('why.due', {span: span(due), at: clock(message.due_at)}) : t('why.now');
	}
	if (!message.waits_for) return null;
	return held(message);
}

function held(message) {
	const at = message.waits_for === 'next-cycle' && message.due_at ? ` (${clock(message.due_at)})` : '';
	return t('why.waits', {holds: holds(message) + at});
}

/** What holds a message or a destination, in a few words. */
export const holds = lane => (lane.waits_for ? known(`holds.${lane.waits_for}`, lane.waits_for) : t('holds.none'));

/** What may be asked of a message that stands here. */
export function allowed(message) {
	const {state} = message;
	const waiting = state === 'queued' || state === 'failed';
	const held = message.waits_for === 'held';
	return {
		resend: state !== 'sending',
		edit: waiting || state === 'abandoned',
		hold: waiting && !held,
		release: waiting && (held || state === 'failed' || Boolean(message.due_at)),
		cancel: waiting,
		resolve: state === 'failed' || state === 'abandoned',
		delete: state !== 'sending',
	};
}
