import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** Load that serves HTTP meanwhile: GET /hello on a port that it says first ("port N"). Arguments: busy threads.
 *  -Dlisten=ADDRESS: on another address than 127.0.0.1. */
public class HttpLoad {
    public static void main(String[] args) throws Exception {
        // Head and body are written one after the other: without this up to Java 17 the second waits 40 ms for the client's ACK of the first.
        System.setProperty("sun.net.httpserver.nodelay", "true");
        HttpServer server = HttpServer.create(new InetSocketAddress(System.getProperty("listen", "127.0.0.1"), 0), 128);
        byte[] body = "hello\n".getBytes();
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
        System.out.println("port " + server.getAddress().getPort());
        Load.main(args);
    }
}
