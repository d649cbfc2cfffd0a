import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** The JDK's own web server: /fail answers 500, /wait/N answers after N ms, anything else "hello". */
public class Server {
	public static void main(String[] args) throws IOException {
		HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(args[0])), 1024);

		server.setExecutor(Executors.newFixedThreadPool(4));
		server.createContext("/", Server::answer);
		server.start();
	}

	private static void answer(HttpExchange exchange) throws IOException {
		String path = exchange.getRequestURI().getPath();
		byte[] body = "hello\n".getBytes();

		exchange.getRequestBody().readAllBytes();
		if (path.startsWith("/wait/"))
			try {
				Thread.sleep(Long.parseLong(path.substring(6)));
			} catch (InterruptedException interrupted) {
				Thread.currentThread().interrupt();
			}
		if (path.equals("/chunked"))
			exchange.sendResponseHeaders(200, 0);
		else
			exchange.sendResponseHeaders(path.equals("/fail") ? 500 : 200, body.length);
		exchange.getResponseBody().write(body);
		exchange.close();
	}
}
