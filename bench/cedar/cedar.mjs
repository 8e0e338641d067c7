// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cedar, beside the policy suite of portreeve-bench: the same rules, the same requests.
//
//     cp SRC/bench/cedar/{package.json,package-lock.json,.npmrc} BUILD/cedar && cd BUILD/cedar && npm ci
//     node SRC/bench/cedar/cedar.mjs FILE [SECONDS]
//
// FILE is written by bench_policy_dump(). Takes the package from the folder it runs in, so that nothing
// is installed into the tree. Cedar gets what makes it fastest: policies parsed once beforehand, no schema,
// and with each request only the two entities that it is about. Cedar runs as WebAssembly in node; what
// it takes to hand a request over and an answer back is part of the figure. All rules are `permit`, because
// Cedar has no order of rules. Prints one line of JSON; exits with 1 if a decision differs from ours.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const BATCH_NS = 20e6;

const [file, seconds = '5'] = process.argv.slice(2);
if (file === undefined) {
	console.error('usage: cedar.mjs FILE [SECONDS]');
	process.exit(2);
}
const require = createRequire(join(process.cwd(), 'package.json'));
const cedar = require('@cedar-policy/cedar-wasm/nodejs');
const dump = JSON.parse(readFileSync(file, 'utf8'));

const parsed = cedar.preparsePolicySet('policy', { staticPolicies: dump.policies });
if (parsed.type !== 'success') {
	console.error(JSON.stringify(parsed).slice(0, 2000));
	process.exit(1);
}

const entities = dump.endpoints.map((endpoint) => ({
	uid: { type: 'Endpoint', id: endpoint.name },
	attrs: {},
	parents: endpoint.groups.map((group) => ({ type: 'Group', id: group })),
}));
const action = { type: 'Action', id: 'connect' };
// Made before the clock runs.
const calls = dump.requests.map(([source, destination, port]) => ({
	principal: entities[source].uid,
	action,
	resource: entities[destination].uid,
	context: { proto: 6, port },
	preparsedPolicySetId: 'policy',
	entities: source === destination ? [entities[source]] : [entities[source], entities[destination]],
}));

function allows(call) {
	const answer = cedar.statefulIsAuthorized(call);
	if (answer.type !== 'success' || answer.response.diagnostics.errors.length > 0) {
		console.error(JSON.stringify(answer).slice(0, 2000));
		process.exit(1);
	}
	return answer.response.decision === 'allow';
}

// A tenth of the time warms up. Then batches of about 20 ms; the median of the batches.
function measure(budgetNs) {
	const start = process.hrtime.bigint();
	let next = 0;
	let count = 0;
	const step = () => {
		allows(calls[next]);
		next = (next + 1) % calls.length;
	};
	while (Number(process.hrtime.bigint() - start) < budgetNs / 10) {
		step();
		count++;
	}
	const batch = Math.max(1, Math.round((count / (budgetNs / 10)) * BATCH_NS));
	const values = [];
	while (values.length < 5 || Number(process.hrtime.bigint() - start) < budgetNs) {
		const before = process.hrtime.bigint();
		for (let i = 0; i < batch; i++) {
			step();
		}
		values.push(Number(process.hrtime.bigint() - before) / batch);
	}
	values.sort((a, b) => a - b);
	return { ns: values[Math.floor(values.length / 2)], decisions: values.length * batch };
}

// Every request once.
function check() {
	let wrong = 0;
	let allowed = 0;
	calls.forEach((call, i) => {
		const ours = dump.requests[i][3];
		wrong += allows(call) !== ours ? 1 : 0;
		allowed += ours ? 1 : 0;
	});
	return { checked: calls.length, wrong, allowed };
}

const budgetNs = Number(seconds) * 1e9;
const measured = measure(budgetNs);
const result = check();
console.log(JSON.stringify({
	ns: Math.round(measured.ns),
	...result,
	decisions: measured.decisions,
	rules: dump.rules,
	ours_ns: dump.ours_ns,
	cedar: cedar.getCedarVersion(),
	package: JSON.parse(readFileSync(join(process.cwd(),
		'node_modules/@cedar-policy/cedar-wasm/package.json'), 'utf8')).version,
}));
process.exit(result.wrong === 0 ? 0 : 1);
