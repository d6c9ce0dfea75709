// PostGraphile as its own documentation has it in production: a cluster of two, no watching, no
// page. Started by tests/performance/postgraphile.py, which says everything in the environment.
// Who asks is taken from two headers on trust: authentication is left out in its favour.
import cluster from "node:cluster";
import { createServer } from "node:http";

if (cluster.isPrimary) {
  for (let count = 0; count < Number(process.env.PROCESSES); count++) cluster.fork();
  process.on("SIGTERM", () => process.exit(0));
} else {
  const { PostGraphileAmberPreset: amber } = await import("postgraphile/presets/amber");
  const { postgraphile } = await import("postgraphile");
  const { grafserv } = await import("postgraphile/grafserv/node");
  const { makePgService } = await import("postgraphile/adaptors/pg");

  const services = makePgService({
    connectionString: process.env.DATABASE_URL,
    schemas: ["public"],
    pubsub: false,
    poolConfig: { max: Number(process.env.POOL) },
  });
  const instance = postgraphile({
    extends: [amber],
    pgServices: [services],
    grafserv: { graphqlPath: "/graphql", graphiql: false, websockets: false },
    grafast: {
      explain: false,
      context: ({ node }) => ({
        pgSettings: {
          [process.env.TENANT_SETTING]: node.req.headers["x-tenant"],
          [process.env.USER_SETTING]: node.req.headers["x-user"],
        },
      }),
    },
  });
  const served = instance.createServ(grafserv);
  const server = createServer();
  await served.addTo(server);
  await served.ready();
  server.listen(Number(process.env.PORT), "127.0.0.1");
}
