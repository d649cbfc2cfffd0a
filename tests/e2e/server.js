// Node's web server: /fail answers 500, /wait/N after N ms, /chunked in chunks, anything else "hello".
const http = require('http');

const server = http.createServer((request, response) => {
	request.resume();
	request.on('end', () => {
		const wait = /^\/wait\/(\d+)/.exec(request.url);
		const answer = () => {
			if (request.url === '/chunked') {
				response.write('hel');
				response.end('lo\n');
				return;
			}
			response.writeHead(request.url === '/fail' ? 500 : 200, {'Content-Length': 6});
			response.end('hello\n');
		};
		if (wait)
			setTimeout(answer, Number(wait[1]));
		else
			answer();
	});
});
server.keepAliveTimeout = 60000;
server.listen(Number(process.argv[2]), '::');
