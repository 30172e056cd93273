/** Answers 201 to everything, to find out what a load generator can send: `bun idle-server.ts <port>`. */
Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch: () => new Response('{"accepted":1,"rejected":0}', { status: 201 }),
})
