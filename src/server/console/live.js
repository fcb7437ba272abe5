// What happens on the node, as it happens: one stream of events for the tab, and a look from time to time where there is no stream.
// Changes are gathered for a second and handed on together. A tab that nobody sees follows nothing: a browser has few connections.

const GATHER_MS = 1_000;
const POLL_MS = 5_000;
const RETRY_MS = 15_000;

/** @typedef {{ids: Set<string>, destinations: Set<string>, states: Set<string>}} Batch */

let source = null;
let batch = null;
let state = 'off';
let isPaused = false;
let gathering = 0;
let retrying = 0;
let polling = 0;
let tell = () => {};
let show = () => {};

/**
 * Begins to follow.
 * onChange: what changed, or `null` where anything may have
 * onState: the state is another
 */
export function follow(onChange, onState) {
	tell = onChange;
	show = onState;
	document.addEventListener('visibilitychange', () => (document.hidden ? stop('off') : resume()));
	start();
}

/** `live`, `polling`, `paused` or `off`. */
export const liveState = () => state;

export function togglePause() {
	isPaused = !isPaused;
	if (isPaused) stop('paused');
	else resume();
}

/** Goes on, and looks at what was missed. */
function resume() {
	if (isPaused || document.hidden) return;
	tell(null);
	start();
}

/** Begins anew, as after a login. */
export function restart() {
	stop('off');
	start();
}

function start() {
	if (isPaused || document.hidden || source) return;
	source = new EventSource('/v1/events');
	source.onopen = () => {
		clearInterval(polling);
		polling = 0;
		turn('live');
	};
	source.addEventListener('transition', event => gather(JSON.parse(event.data)));
	// Too much happens to be told one by one.
	source.addEventListener('cut', () => poll());
	source.onerror = () => poll();
}

/** Looks from time to time, and tries to follow again later. */
function poll() {
	source?.close();
	source = null;
	turn('polling');
	if (!polling) polling = setInterval(() => tell(null), POLL_MS);
	clearTimeout(retrying);
	retrying = setTimeout(resume, RETRY_MS);
}

function stop(next) {
	source?.close();
	source = null;
	clearInterval(polling);
	clearTimeout(retrying);
	polling = retrying = 0;
	turn(next);
}

function turn(next) {
	if (state === next) return;
	state = next;
	show();
}

function gather(change) {
	batch ??= {ids: new Set(), destinations: new Set(), states: new Set()};
	batch.ids.add(change.id);
	batch.destinations.add(change.destination);
	batch.states.add(change.state);
	if (gathering) return;
	gathering = setTimeout(() => {
		const gathered = batch;
		gathering = 0;
		batch = null;
		tell(gathered);
	}, GATHER_MS);
}
