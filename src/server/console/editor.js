// A new body: what changes is shown before it is sent, a reason is asked for, and who was overtaken sees both versions.

import {h, patch} from './h.js';
import {change, get, piece} from './api.js';
import {t} from './words.js';
import {button, field, isolated, notice, refusal} from './parts.js';
import {diff, near, readable} from './body.js';

export function editor({id, revision, message, close, saved}) {
	const path = `/v1/messages/${piece(id)}`;
	const original = revision?.body ?? '';
	// A text field knows one kind of line end; the body gets back the one that it had.
	const end = original.includes('\r\n') ? '\r\n' : '\n';
	let base = {number: revision?.number ?? message.revision, body: original};
	let isSure = false;

	const area = h('textarea', {rows: '14', spellcheck: 'false', required: false, 'aria-label': t('edit.body'), oninput: () => changed()});
	area.value = original;
	const type = h('input', {
		value: revision?.content_type ?? message.content_type ?? '',
		autocomplete: 'off',
		placeholder: 'application/json',
		oninput: () => changed(),
	});
	const reason = h('input', {required: true, maxlength: '500', autocomplete: 'off'});
	const shown = h('div');
	const wrong = h('div');
	const go = h('button.first', {type: 'submit'}, t('edit.save'));
	const node = h(
		'form.editor',
		{
			'data-key': 'editor',
			'aria-label': t('act.edit'),
			onsubmit: event => {
				event.preventDefault();
				save();
			},
		},
		h('h2', t('act.edit')),
		revision?.body === undefined && h('p.wrong', t('edit.bytes')),
		area,
		h(
			'div.row',
			button(t('body.pretty'), () => {
				area.value = readable(area.value);
				changed();
			}),
		),
		field(t('edit.type'), type),
		shown,
		field(t('reason'), reason, t('edit.why.hint')),
		wrong,
		h('div.row.end', button(t('cancel'), close), go),
	);

	const content = () => (end === '\n' ? area.value : area.value.replaceAll('\n', end));

	/** Whether the text is not what its type says. */
	function isBroken() {
		if (!/[/+]json\b/.test(type.value)) return null;
		try {
			JSON.parse(area.value);
			return null;
		} catch (error) {
			return error instanceof Error ? error.message : '';
		}
	}

	function changed() {
		isSure = false;
		const broken = isBroken();
		const lines = near(diff(readable(base.body), readable(content())));
		const difference = lines.some(line => line.kind === 'new' || line.kind === 'gone');
		patch(
			shown,
			h(
				'div',
				broken !== null && h('p.wrong', t('edit.broken'), ' ', isolated(broken)),
				difference ? [h('h3', t('edit.diff')), drawn(lines)] : h('p.quiet', t('edit.same')),
			),
		);
	}

	async function save() {
		wrong.replaceChildren();
		if (isBroken() !== null && !isSure) {
			isSure = true;
			wrong.replaceChildren(h('p.wrong', {role: 'alert'}, t('edit.sure')));
			return;
		}
		go.disabled = true;
		try {
			const headers = {'if-match': `"${base.number}"`, ...(type.value ? {'content-type': type.value} : {})};
			await change('PUT', `${path}/body?as_is=true&why=${piece(reason.value)}`, {body: new Blob([content()]), headers});
			notice(t('edit.done'));
			saved();
		} catch (problem) {
			if (problem.status === 412) await overtaken();
			else wrong.replaceChildren(refusal(problem));
		} finally {
			go.disabled = false;
		}
	}

	/** Someone else was faster: both versions, and the choice between them. */
	async function overtaken() {
		const all = (await get(`${path}/revisions`)).revisions;
		const theirs = all.at(-1);
		const mine = content();
		const text = theirs.body ?? '';
		const take = body => {
			base = {number: theirs.number, body: text};
			area.value = body;
			wrong.replaceChildren();
			changed();
		};
		wrong.replaceChildren(
			h(
				'div.refusal',
				{role: 'alert'},
				h(
					'div',
					h('strong', t('edit.overtaken', {who: theirs.who, revision: theirs.number, mine: base.number})),
					h('p.quiet', isolated(theirs.why)),
					drawn(near(diff(readable(text), readable(mine)))),
					h(
						'div.row',
						button(t('edit.theirs'), () => take(text)),
						button(t('edit.mine'), () => take(mine)),
					),
				),
			),
		);
	}

	changed();
	return {node};
}

/** A difference, line by line: what went and what came is said by a sign and a word, not by colour alone. */
function drawn(lines) {
	const line = one =>
		one.kind === 'gap'
			? h('div.gap', t('edit.gap', {n: one.count, count: String(one.count)}))
			: h(
					`div.${one.kind}`,
					h('span.sign', {'aria-hidden': 'true'}, {gone: '−', new: '+', same: ' '}[one.kind]),
					one.kind !== 'same' && h('span.unseen', `${t(`edit.${one.kind}`)}: `),
					isolated(one.text),
				);
	return h('div.diff', {role: 'group', tabindex: '0', 'aria-label': t('edit.diff')}, lines.map(line));
}
