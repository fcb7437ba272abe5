// The way in, where the node has tokens: a token opens a session that this browser keeps until it is closed or twelve hours are over.

import {h, patch} from './h.js';
import {change, whoami} from './api.js';
import {t} from './words.js';
import {complain, field, icon, titleOf} from './parts.js';

/** Opens a session by the one-time code of the address, which keeps nothing of it; whether there was one. */
export async function byCode() {
	const code = /^#\/login\?code=(\w+)$/.exec(location.hash)?.[1];
	if (!code) return false;
	history.replaceState(null, '', location.pathname + location.search);
	await change('POST', '/v1/login', {body: {code}}).catch(complain);
	await whoami();
	return true;
}

/** Shows the form. */
export function login(opened) {
	const wrong = h('p.wrong', {id: 'login-wrong', role: 'alert'});
	const token = h('input', {
		type: 'password',
		id: 'token',
		required: true,
		autocomplete: 'current-password',
		spellcheck: 'false',
		'aria-describedby': 'login-wrong',
	});
	const form = h(
		'form.login',
		{
			onsubmit: async event => {
				event.preventDefault();
				wrong.replaceChildren();
				try {
					await change('POST', '/v1/login', {body: {token: token.value.trim()}});
				} catch (problem) {
					const text = problem.status === 401 ? t('login.wrong') : `${titleOf(problem)}. ${problem.detail}`;
					wrong.replaceChildren(icon('warn'), text);
					token.setAttribute('aria-invalid', 'true');
					token.select();
					return;
				}
				await opened();
			},
		},
		h('h1', t('login.title')),
		h('p.quiet', t('login.text', {host: location.host})),
		field(t('login.token'), token),
		wrong,
		h('button.first', {type: 'submit'}, t('login.go')),
	);
	document.title = `${t('login.title')} · goniec`;
	patch(document.getElementById('shell'), [h('main.entry', {id: 'main', tabindex: '-1', 'data-key': `login-${Date.now()}`}, form)]);
	token.focus();
}
