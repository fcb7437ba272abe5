// One message: where it stands and why, its whole life, every attempt, its body, and what may be asked of it.

import {h, keep} from './h.js';
import {get, may, me, piece} from './api.js';
import {exactly, known, number, size, span, t} from './words.js';
import {
	ask,
	asked,
	button,
	code,
	complain,
	done,
	facts,
	isolated,
	mark,
	messageLink,
	moment,
	notice,
	outcomeMark,
	press,
	stateMark,
	when,
} from './parts.js';
import {link, sayable} from './filter.js';
import {allowed, why} from './reasons.js';
import {perform} from './bulk.js';
import {curl, readable} from './body.js';
import {editor} from './editor.js';

const SHOWN_MAX = 200_000;

export function message(here) {
	const [id] = here.rest;
	const path = `/v1/messages/${piece(id ?? '')}`;
	const state = {message: null, attempts: [], revisions: [], raw: false, editing: null};

	async function load(signal) {
		const [shown, attempts, revisions, lanes] = await Promise.all([
			get(path, signal),
			get(`${path}/attempts`, signal),
			get(`${path}/revisions`, signal),
			get('/v1/destinations', signal),
		]);
		const lane = lanes.destinations.find(one => one.name === shown.destination);
		Object.assign(state, {message: shown, attempts: attempts.attempts, revisions: revisions.revisions, cycle: lane?.cycle});
	}

	const newest = () => state.revisions.at(-1) ?? null;

	async function act(name) {
		try {
			await perform(name, id);
			notice(done(name, 1));
			if (name === 'delete') location.hash = '#/messages';
			else here.reload();
		} catch (problem) {
			complain(problem);
			here.reload();
		}
	}

	const confirmed = name =>
		ask(t(`act.${name}`), [asked(name, 1), h('p', code(id))], {
			submit: t(`act.${name}`),
			danger: name === 'delete' || name === 'cancel',
			done: () => act(name),
		});

	function tools() {
		if (!state.message || !may('operate')) return null;
		const can = allowed(state.message);
		const one = (name, show, first = false) =>
			show &&
			button(t(`act.${name}`), () => (['delete', 'cancel', 'arrived'].includes(name) ? confirmed(name) : act(name)), {
				'data-act': name,
				class: first ? 'first' : name === 'delete' ? 'danger' : null,
			});
		return h(
			'div.row',
			{role: 'group', 'aria-label': t('actions')},
			one('resend', can.resend, true),
			one('next-cycle', can.resend && state.cycle),
			can.edit && button(t('act.edit'), edit, {'data-act': 'edit'}),
			one('hold', can.hold),
			one('release', can.release),
			one('arrived', can.resolve),
			one('cancel', can.cancel),
			one('delete', can.delete),
		);
	}

	function edit() {
		state.editing ??= editor({
			id,
			revision: newest(),
			message: state.message,
			close: () => {
				state.editing = null;
				here.redraw();
			},
			saved: () => {
				state.editing = null;
				here.reload();
			},
		});
		here.redraw();
		document.querySelector('.editor textarea')?.scrollIntoView({block: 'center'});
		document.querySelector('.editor textarea')?.focus();
	}

	function about() {
		const shown = state.message;
		const same = shown.key && sayable(shown.key) && h('a', {href: link({to: shown.destination, key: shown.key})}, t('message.same'));
		const story = shown.key && h('a', {href: `#/keys?explain=${piece(shown.key)}`}, t('message.story'));
		return facts([
			[t('col.id'), code(id)],
			[t('col.destination'), h('a', {href: link({to: shown.destination})}, isolated(shown.destination))],
			[t('col.key'), shown.key && h('span.row', code(shown.key), same, story)],
			[t('col.type'), shown.type && code(shown.type)],
			[t('col.version'), shown.version === null ? null : String(shown.version)],
			[t('col.accepted'), h('span', exactly(shown.accepted_at), ' (', when(shown.accepted_at), ')')],
			[t('col.deadline'), shown.deadline && moment(shown.deadline)],
			[t('col.notbefore'), shown.not_before && moment(shown.not_before)],
			[t('col.remote'), shown.remote_id && code(shown.remote_id)],
			[t('col.idempotency'), shown.idempotency_key && code(shown.idempotency_key)],
			[t('col.supersedes'), shown.supersedes && messageLink(shown.supersedes, shown.supersedes)],
			[t('col.superseded'), shown.superseded_by && messageLink(shown.superseded_by, shown.superseded_by)],
		]);
	}

	function timeline() {
		const steps = [{at: state.message.accepted_at, what: mark('info', 'queued', t('life.accepted'))}];
		for (const attempt of state.attempts)
			steps.push({
				at: attempt.started_at,
				what: h('span', outcomeMark(attempt.outcome), ' ', t('life.attempt', {number: attempt.number})),
				more: attempt.detail,
			});
		for (const revision of state.revisions.slice(1))
			steps.push({at: revision.at, what: mark('info', 'info', t('life.edited', {who: revision.who})), more: revision.why});
		steps.sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
		const {due_at: due} = state.message;
		if (due && Date.parse(due) > Date.now()) steps.push({at: due, what: mark('calm', 'queued', t('life.due'))});
		return h(
			'ol.life',
			steps.map(step => h('li', moment(step.at), h('div', step.what, step.more && h('p.quiet', isolated(step.more))))),
		);
	}

	const spent = phases =>
		Object.entries(phases)
			.filter(([, took]) => took !== false)
			.map(([name, took]) => t(`phase.${name}`) + (took === true ? '' : ` ${span(took)}`))
			.join(', ');

	function attempts() {
		const longest = Math.max(1, ...state.attempts.map(attempt => attempt.duration_ms));
		return [...state.attempts].reverse().map(attempt =>
			h(
				'details.attempt',
				{'data-key': `attempt-${attempt.number}`, open: attempt.number === state.attempts.at(-1).number},
				h(
					'summary',
					h('b', t('attempt', {number: attempt.number})),
					outcomeMark(attempt.outcome),
					attempt.status && h('span', String(attempt.status)),
					h('span.spread', moment(attempt.started_at)),
					h('span.number', span(attempt.duration_ms)),
				),
				h('progress.took', {max: String(longest), value: String(attempt.duration_ms), 'aria-label': t('attempt.took')}),
				facts([
					[t('attempt.detail'), isolated(attempt.detail)],
					[t('attempt.class'), attempt.class && h('span', known(`class.${attempt.class}`, attempt.class), ' ', code(attempt.class))],
					[t('attempt.sent'), known(`sent.${attempt.sent}`, attempt.sent)],
					[t('col.revision'), number(attempt.revision)],
					[t('col.remote'), attempt.remote_id && code(attempt.remote_id)],
					[t('attempt.phases'), attempt.phases && spent(attempt.phases)],
				]),
				attempt.response_excerpt && [h('h3', t('attempt.answer')), text(readable(attempt.response_excerpt), t('attempt.answer'))],
			),
		);
	}

	const text = (content, label) => h('pre.text', {tabindex: '0', role: 'region', 'aria-label': label}, isolated(content));

	function body() {
		const revision = newest();
		if (!revision) return h('p.quiet', t('body.gone'));
		const address = `${path}/body`;
		const content = revision.body;
		const head = h(
			'div.row',
			h(
				'span.quiet',
				t('body.about', {revision: number(revision.number), type: revision.content_type ?? '–', size: size(revision.body_bytes)}),
			),
			content &&
				button(
					state.raw ? t('body.pretty') : t('body.raw'),
					() => {
						state.raw = !state.raw;
						here.redraw();
					},
					{'aria-pressed': String(state.raw)},
				),
			content && button(t('body.curl'), () => copy(curl(state.message, content, me.needs_login))),
			revision.body_bytes !== null && h('a.button', {href: address, download: `${id}.body`}, t('body.save')),
		);
		if (content === undefined || content === null)
			return [head, h('p.quiet', revision.body_base64 ? t('body.bytes') : revision.body_bytes === null ? t('body.gone') : t('body.large'))];
		const shown = state.raw || content.length > SHOWN_MAX ? content : readable(content);
		return [head, text(shown.slice(0, SHOWN_MAX), t('body')), content.length > SHOWN_MAX && h('p.quiet', t('body.large'))];
	}

	const former = () =>
		state.revisions.length > 1 &&
		h(
			'details',
			{'data-key': 'former'},
			h('summary', t('revisions', {n: state.revisions.length, count: number(state.revisions.length)})),
			h(
				'ol.life',
				state.revisions.map(revision =>
					h(
						'li',
						moment(revision.at),
						h(
							'div',
							h(
								'a',
								{href: `${path}/body?revision=${revision.number}`, download: `${id}.${revision.number}.body`},
								t('revision', {number: revision.number}),
							),
							' ',
							isolated(revision.who),
							revision.why && h('p.quiet', isolated(revision.why)),
						),
					),
				),
			),
		);

	function view() {
		const shown = state.message;
		return [
			h(
				'section.verdict',
				{class: shown.state, 'aria-label': t('col.state')},
				h(
					'div.row',
					stateMark(shown),
					shown.attempts > 0 && h('span.quiet', t('attempts', {n: shown.attempts, count: number(shown.attempts)})),
				),
				h('p.sentence', isolated(why(shown, state.attempts.at(-1)))),
			),
			state.editing && keep(state.editing.node),
			h(
				'div.columns',
				h(
					'div',
					h('section', h('h2', t('body')), body(), former()),
					h('section', h('h2', t('attempts.title')), state.attempts.length ? attempts() : h('p.quiet', t('attempts.none'))),
				),
				h('div', h('section', h('h2', t('about')), about()), h('section', h('h2', t('life')), timeline())),
			),
		];
	}

	return {
		title: () => t('message.title', {id: `…${String(id).slice(-8)}`}),
		load,
		view,
		tools,
		concerns: batch => batch.ids.has(id),
		keys: {r: () => press('[data-act=resend]'), e: () => press('[data-act=edit]')},
	};
}

async function copy(content) {
	try {
		await navigator.clipboard.writeText(content);
		notice(t('copied'));
	} catch {
		ask(t('body.curl'), h('textarea', {readonly: true, rows: '8', 'aria-label': t('body.curl')}, content), {
			submit: t('close'),
			done: async () => {},
		});
	}
}
