// oidc-provider, a certified authorization server, with an API behind its tokens: `node oidc.mjs PORT`.
// `/admin/…` is for tests: what was asked for, and when tokens end early.
import http from 'node:http';
import Provider from 'oidc-provider';

// How many seconds the clock is ahead of the real one, as a test says.
let ahead = 0;
const now = Date.now;
Date.now = () => now() + ahead * 1000;

const port = Number(process.argv[2]);
const base = `http://127.0.0.1:${port}`;
const secret = 's3cr:et/+%~';
const jwk = JSON.parse(process.env.CLIENT_JWK);
const ttl = Number(process.env.ACCESS_TTL ?? 3600);

const provider = new Provider(base, {
  clockTolerance: 0,
  clients: [
    { client_id: 'b:asic', client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      token_endpoint_auth_method: 'client_secret_basic' },
    { client_id: 'post', client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      token_endpoint_auth_method: 'client_secret_post' },
    { client_id: 'jwt', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: jwk.alg, jwks: { keys: [jwk] } },
    { client_id: 'app', application_type: 'native', grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: ['http://127.0.0.1/callback'], token_endpoint_auth_method: 'none' },
    { client_id: 'tv', application_type: 'native', redirect_uris: [], response_types: [],
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'], token_endpoint_auth_method: 'none' },
  ],
  features: { clientCredentials: { enabled: true }, deviceFlow: { enabled: true }, devInteractions: { enabled: false } },
  pkce: { required: () => true },
  scopes: ['openid', 'offline_access'],
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  ttl: { AccessToken: () => ttl, ClientCredentials: () => ttl, RefreshToken: () => 3600 },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  cookies: { keys: ['for tests only'] },
});

const asked = [];
const known = new Set();
const issued = new Set();
provider.on('grant.success', ({ body }) => [body.access_token, body.refresh_token].forEach((token) => token && issued.add(token)));
const ended = new Set();
let refused = 0;
let held = null; // 'token' or 'items': the next answer of that kind is made, and not sent.

async function consent(req, res) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(req, res);
  if (prompt.name === 'login') {
    return provider.interactionFinished(req, res, { login: { accountId: 'person' } });
  }
  const grant = grantId ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope ?? 'openid');
  return provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
}

async function items(req, res) {
  const token = (req.headers.authorization ?? '').replace(/^Bearer /, '');
  const found = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
  const good = found && found.isValid && !ended.has(token);
  if (token) known.add(token);
  if (!good) refused += 1;
  if (held === 'items' && good) { held = 'done'; return; }
  // An API that repeats what it was sent, in every form.
  const bytes = Buffer.from(token);
  const echo = [token, encodeURIComponent(token), bytes.toString('base64'), bytes.toString('hex')];
  if (req.url.endsWith('/refused')) { res.writeHead(400); return res.end(echo.join(' ')); }
  res.writeHead(good ? 200 : 401, { 'content-type': 'application/json' });
  res.end(JSON.stringify(good ? { total: 2, items: [{ id: 1 }, { id: 2 }], records: [{ id: 2 }], echo } : { error: 'invalid_token', echo }));
}

const serve = provider.callback();
http.createServer(async (req, res) => {
  const path = new URL(req.url, base).pathname;
  try {
    if (path.startsWith('/interaction/')) return await consent(req, res);
    if (path.startsWith('/api/')) return await items(req, res);
    if (path === '/admin/asked') return res.end(JSON.stringify(asked));
    if (path === '/admin/refused') return res.end(String(refused));
    if (path === '/admin/issued') return res.end(JSON.stringify([...issued]));
    if (path === '/admin/known') return res.end(JSON.stringify([...known]));
    if (path === '/admin/held') return res.end(String(held));
    if (path.startsWith('/admin/ahead/')) { ahead = Number(path.slice('/admin/ahead/'.length)); return res.end(); }
    if (path === '/admin/end') { known.forEach((token) => ended.add(token)); return res.end(); }
    if (path === '/admin/hold-token') { held = 'token'; return res.end(); }
    if (path === '/admin/hold-items') { held = 'items'; return res.end(); }
    if (path === '/token') {
      asked.push(req.headers.authorization ? 'basic' : 'body');
      if (held === 'token') {
        // The server does its work, and its answer never arrives.
        res.end = () => { held = 'done'; return res; };
      }
    }
    return serve(req, res);
  } catch (error) {
    res.writeHead(500);
    res.end(String(error.stack));
  }
}).listen(port, '127.0.0.1');
