// A real OpenID Provider (npm's oidc-provider, certified by the OpenID Foundation) on a free loopback port over TLS, for tests only.
//
// usage: node idp.mjs CONFIGURATION.json
// The file holds: certificate, key (PEM paths of its own), ca (PEM path: authority of the clients' certificates),
// clients (RFC 7591 metadata; besides: token_claims, demand_dpop_nonce).
// It writes one line, {"issuer": ...}, when it is up, and ends with its standard input.
//
// Tests command it by POST: /_test/rotate   new keys in front, the old ones still published
//                           /_test/retire   the old ones gone
//                           /_test/fault?path=/jwks&kind=500|hang|garbage|off
// and ask GET /_test/requests: how often each path was asked.
import { readFileSync } from 'node:fs';
import * as https from 'node:https';
import { ALGORITHMS, newKeys } from './keys.mjs';
import { makeProvider } from './provider.mjs';

console.info = console.error; // standard output is for the one line

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const faults = new Map();
const requests = new Map();
let keys = await newKeys();
let issuer;
let handle;

const commands = {
  '/_test/rotate': async () => { keys = [...await newKeys(), ...keys]; handle = makeProvider(issuer, settings.clients, keys); },
  '/_test/retire': async () => { keys = keys.slice(0, ALGORITHMS.length); handle = makeProvider(issuer, settings.clients, keys); },
  '/_test/fault': async (query) => { faults.set(query.get('path'), query.get('kind')); },
  '/_test/requests': async () => {},
};

function fail(kind, res) {
  if (kind === 'hang') return;
  res.writeHead(kind === '500' ? 500 : 200, { 'content-type': 'application/json' });
  res.end(kind === '500' ? '{"error":"server_error"}' : '{"keys": [');
}

const server = https.createServer({
  key: readFileSync(settings.key), cert: readFileSync(settings.certificate), ca: readFileSync(settings.ca), requestCert: true, rejectUnauthorized: false,
}, async (req, res) => {
  const url = new URL(req.url, issuer);
  if (Object.hasOwn(commands, url.pathname)) {
    await commands[url.pathname](url.searchParams);
    res.end(JSON.stringify(Object.fromEntries(requests)));
    return;
  }
  requests.set(url.pathname, (requests.get(url.pathname) ?? 0) + 1);
  const fault = faults.get(url.pathname) ?? 'off';
  if (fault === 'off') handle(req, res);
  else fail(fault, res);
});
server.listen(0, '127.0.0.1', () => {
  issuer = `https://127.0.0.1:${server.address().port}`;
  handle = makeProvider(issuer, settings.clients, keys);
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});
process.stdin.resume().on('end', () => process.exit());
