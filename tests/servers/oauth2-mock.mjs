// oauth2-mock-server, whose token endpoint answers every third time with 503: `node oauth2-mock.mjs PORT`.
import { OAuth2Server } from 'oauth2-mock-server';

const server = new OAuth2Server();
await server.issuer.keys.generate('RS256');
let asked = 0;
server.service.on('beforeResponse', (response) => {
  asked += 1;
  if (asked % 3 === 0) {
    response.statusCode = 503;
    response.body = { error: 'temporarily_unavailable' };
  }
});
await server.start(Number(process.argv[2]), '127.0.0.1');
