// What is asked of many messages: of those picked on the page one by one, of all that match as a job of the node, with its count and a sample first.

import {h} from './h.js';
import {Problem, change, get, may, piece} from './api.js';
import {number, t} from './words.js';
import {ask, asked, button, code, complain, counted, done as said, field, isolated, messageLink, notice, stateMark} from './parts.js';
import {allowed} from './reasons.js';

const ACTS = ['resend', 'next-cycle', 'hold', 'release', 'edit', 'cancel', 'delete'];
const HARSH = ['cancel', 'delete'];
const POLL_MS = 1_000;

/** One act on one message. */
export function perform(act, id) {
	const path = `/v1/messages/${piece(id)}`;
	if (act === 'delete') return change('DELETE', path);
	if (act === 'next-cycle') return change('POST', `${path}/resend?at=next-cycle`);
	if (act === 'arrived') return change('POST', `${path}/resolve?outcome=delivered`);
	return change('POST', `${path}/${act}`);
}

/** Whether a message that stands here admits the act. */
const admits = (act, message) => allowed(message)[act === 'next-cycle' ? 'resend' : act];

/** Those that are picked and admit the act, and what is said of those that do not. */
function able(act, {messages}) {
	const those = messages.filter(message => admits(act, message));
	const left = messages.length - those.length;
	return [those, left > 0 && h('p.quiet', counted('ask.left', left))];
}

/** The bar over a list where something is selected. */
export function actions(selection, state, here, list) {
	const picked = selection.messages;
	const isWhole = picked.length === list.messages.length && Boolean(list.next);
	const possible = act => selection.all || picked.some(message => admits(act, message));
	return h(
		'div.actions',
		{role: 'region', 'aria-label': t('actions'), 'data-key': 'actions'},
		h('span', {role: 'status'}, selection.all ? t('selected.all') : counted('selected', picked.length)),
		isWhole &&
			!selection.all &&
			button(
				t('select.all'),
				() => {
					state.all = true;
					here.redraw();
				},
				{class: 'link'},
			),
		h(
			'div.row',
			ACTS.filter(possible).map(act =>
				button(
					t(`act.${act}`),
					() => (act === 'edit' ? askField(selection) : selection.all ? askAll(act, selection) : askSome(act, selection)),
					{
						'data-act': act,
						class: HARSH.includes(act) ? 'danger' : null,
					},
				),
			),
			button(t('select.none'), selection.clear, {class: 'link'}),
		),
	);
}

/** Some of the messages, and what an edit finds in each. */
const sample = (messages, edits = []) =>
	h(
		'ul.sample',
		messages
			.slice(0, 10)
			.map((message, at) =>
				h(
					'li',
					stateMark(message),
					' ',
					messageLink(message.id),
					' ',
					code(message.destination),
					' ',
					code(message.key),
					edits[at] && h('small', ' ', isolated(edits[at].refused ?? t('edit.now', {value: edits[at].before}))),
				),
			),
	);

/** A count that is typed is a count that was read. */
const typed = n =>
	field(t('bulk.type', {count: String(n)}), h('input', {inputmode: 'numeric', required: true, autocomplete: 'off', pattern: String(n)}));

function askSome(act, selection) {
	const [those, left] = able(act, selection);
	ask(t(`act.${act}`), [asked(act, those.length), left, sample(those), HARSH.includes(act) && those.length > 1 && typed(those.length)], {
		submit: t(`act.${act}`),
		danger: HARSH.includes(act),
		done: async () => {
			let done = 0;
			const refused = [];
			for (const {id} of those) {
				await perform(act, id).then(
					() => (done += 1),
					problem => refused.push(problem),
				);
				if (refused.at(-1)?.status === 0) break;
			}
			if (done) notice(said(act, done));
			if (refused.length) notice(`${counted('refused', refused.length)} ${refused[0].detail} ${refused[0].hint}`, 'bad');
			selection.clear();
		},
	});
}

/** All that match: as `look`, and a refusal is a notice. */
export const askAll = (...asked) => look(...asked).then(open => open(), complain);

/**
 * The node counts first, the person types the count, and the node does it as a job. Answers with what opens the dialog.
 * all: whether the person wrote the filter
 * more: what it is called, what is asked for as the reason, which is needed then, and the field that is edited
 */
async function look(act, {filter, clear, all = true}, {title = t(`act.${act}`), reason = '', edit} = {}) {
	const action = act === 'next-cycle' ? 'resend' : act;
	const wanted = {action, filter, at: {resend: 'now', 'next-cycle': act}[act], field: edit?.path};
	// Values go as they are written: a number that is read may become another.
	const values = edit ? `,"to":${edit.to}${edit.from && `,"from":${edit.from}`}` : '';
	const order = more => {
		const body = JSON.stringify({...wanted, ...more}).slice(0, -1) + values + '}';
		return change('POST', '/v1/bulk', {body, headers: {'content-type': 'application/json'}});
	};
	const found = await order({dry_run: true});
	const box = more => h('input', {autocomplete: 'off', maxlength: '500', ...more});
	const [why, rate] = [box({required: Boolean(reason)}), box({placeholder: '100/1m'})];
	const content = [
		asked(act, found.count),
		!found.is_exact && h('p', t('bulk.inexact')),
		all && h('p', t('bulk.filter'), ' ', code(filter)),
		edit && h('p', code(edit.path), ' → ', code(edit.to)),
		sample(found.sample, found.edits),
		field(reason || t('reason'), why),
		action === 'resend' && field(t('bulk.rate'), rate, t('bulk.rate.hint')),
		typed(found.count),
	];
	const done = async () => {
		const job = await order({
			dry_run: false,
			count: found.is_exact ? found.count : undefined,
			why: why.value || undefined,
			rate: rate.value || undefined,
		});
		clear();
		watch(job);
	};
	return () => ask(title, content, {submit: t(`act.${act}`), danger: HARSH.includes(act), done});
}

/** One field of all of them gets another value. */
function askField(selection) {
	const {all, filter, clear} = selection;
	const [those, left] = able('edit', selection);
	const box = more => h('input', {autocomplete: 'off', spellcheck: 'false', maxlength: '1024', ...more});
	const path = box({required: true, placeholder: '/customer/phone'});
	const from = box();
	const to = box({required: true, placeholder: '"+48 22 123 45 67"'});
	const content = [
		!all && left,
		field(t('edit.path'), path),
		field(t('edit.from'), from, t('edit.json')),
		field(t('edit.to'), to, t('edit.json')),
	];
	ask(t('edit.field'), content, {
		submit: t('edit.look'),
		done: () => {
			const edit = {path: path.value, to: json(t('edit.to'), to), from: from.value.trim() && json(t('edit.from'), from)};
			return look('edit', {all, filter: all ? filter : `id:${those.map(({id}) => id).join(',')}`, clear}, {reason: t('reason'), edit});
		},
	});
}

/** What is typed, as it is written, where it is JSON. */
function json(name, {value}) {
	try {
		JSON.parse(value);
	} catch {
		throw new Problem(400, {title: name, detail: t('edit.json')});
	}
	return value.trim();
}

/** Shows a job until it ends. */
function watch(job) {
	const line = h('span');
	const meter = h('progress', {max: '1', value: '0', 'aria-label': t('job.title', {id: job.id})});
	const stop = button(t('cancel'), () => change('DELETE', `/v1/bulk/${piece(job.id)}`).then(show, complain));
	const box = h('div.notice.job', h('strong', t('job.title', {id: job.id})), meter, line, may('operate') && stop);
	document.getElementById('notices')?.append(box);
	const show = now => {
		meter.value = now.matched ? (now.done + now.refused) / now.matched : 0;
		line.textContent = `${t(`job.${now.state}`)} · ${number(now.done)} / ${now.matched === null ? '…' : number(now.matched)}${now.refused ? ` · ${counted('refused', now.refused)}` : ''}`;
		if (now.state === 'running') return;
		stop.remove();
		clearInterval(timer);
		if (now.detail) line.append(' · ', isolated(now.detail));
		setTimeout(() => box.remove(), 8_000);
	};
	const lost = problem => (problem.status === 401 || problem.status === 404) && clearInterval(timer);
	const timer = setInterval(() => get(`/v1/bulk/${piece(job.id)}`).then(show, lost), POLL_MS);
	show(job);
}
